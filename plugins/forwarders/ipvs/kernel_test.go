package ipvs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// run runs a program and gives its output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ipvsadm runs it with words split at blanks.
func ipvsadm(t testing.TB, line string) string {
	t.Helper()
	return run(t, "ipvsadm", strings.Fields(line)...)
}

// saved is the table as ipvsadm would restore it, sorted, with the thresholds that -S
// leaves out.
func saved(t testing.TB) string {
	t.Helper()
	lines := strings.Split(ipvsadm(t, "-Sn"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n") + ipvsadm(t, "-Ln --thresholds")
}

// modprobe sets what the kernel calls to load modules.
func modprobe(t *testing.T, works bool) {
	t.Helper()
	path := "/run/modprobe"
	if !works {
		path = "/run/no-modprobe"
	}
	if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(path), 0); err != nil {
		t.Fatal(err)
	}
}

// started gives a configured forwarder over an empty table.
func started(t testing.TB) sdk.Forwarder {
	t.Helper()
	f := New()
	if err := f.Configure(t.Context(), sdk.Settings{BeatInterval: 50 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	ipvsadm(t, "-C")
	t.Cleanup(func() {
		if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_LEAVE); err != nil {
			t.Error(err)
		}
		exec.Command("ipvsadm", "-C").Run()
	})
	return f
}

var generations uint64

// request makes one with the next generation.
func request(services ...*forwardv1.VirtualServer) *forwardv1.ApplyRequest {
	generations++
	return &forwardv1.ApplyRequest{Generation: generations, VirtualServers: services, ReconcileInterval: durationpb.New(100 * time.Millisecond)}
}

func apply(t testing.TB, f sdk.Forwarder, r *forwardv1.ApplyRequest) *forwardv1.ApplyResponse {
	t.Helper()
	response, err := f.Apply(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// applyWell fails if anything could not be made what it should be.
func applyWell(t testing.TB, f sdk.Forwarder, r *forwardv1.ApplyRequest) *forwardv1.ApplyResponse {
	t.Helper()
	response := apply(t, f, r)
	if len(response.GetErrors()) > 0 {
		t.Fatalf("errors: %v", response.GetErrors())
	}
	return response
}

func observe(t testing.TB, f sdk.Forwarder) *forwardv1.ObserveResponse {
	t.Helper()
	o, err := f.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func service(scheduler, address string, port uint32, reals ...*forwardv1.RealServer) *forwardv1.VirtualServer {
	family := forwardv1.Family_FAMILY_IPV4
	if strings.Contains(address, ":") {
		family = forwardv1.Family_FAMILY_IPV6
	}
	return &forwardv1.VirtualServer{
		Key:       &forwardv1.ServiceKey{Address: address, Port: port, Protocol: forwardv1.Protocol_PROTOCOL_TCP, Family: family},
		Scheduler: scheduler, RealServers: reals,
	}
}

func real(address string, port, weight uint32, method forwardv1.Method) *forwardv1.RealServer {
	return &forwardv1.RealServer{Address: address, Port: port, Weight: weight, Method: method}
}

const (
	dr  = forwardv1.Method_METHOD_DR
	nat = forwardv1.Method_METHOD_NAT
	tun = forwardv1.Method_METHOD_TUN
)

// TestKernelModules runs first and in a process of its own: it needs a kernel that has not
// loaded IPVS.
func TestKernelModules(t *testing.T) {
	lab(t)
	modprobe(t, false)
	f := New()
	err := f.Configure(t.Context(), sdk.Settings{})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "modprobe ip_vs") {
		t.Fatalf("without IPVS: %v", err)
	}
	if _, err := f.Observe(t.Context()); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Observe without IPVS: %v", err)
	}
	if _, err := f.Apply(t.Context(), request()); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Apply without IPVS: %v", err)
	}

	modprobe(t, true)
	if err := f.Configure(t.Context(), sdk.Settings{}); err != nil {
		t.Fatalf("the kernel loads IPVS when it is asked for: %v", err)
	}
	if got := observe(t, f).GetPlatform(); !strings.HasPrefix(got, "IPVS 1.2.1, connection table size ") {
		t.Errorf("platform %q", got)
	}

	modprobe(t, false)
	sip := service("wrr", "192.0.2.100", 80, real("192.0.2.1", 80, 1, dr))
	response := apply(t, f, request(sip))
	if len(response.GetErrors()) != 1 || !strings.Contains(response.GetErrors()[0].GetMessage(), "modprobe ip_vs_wrr") {
		t.Fatalf("without the scheduler: %v", response)
	}
	modprobe(t, true)
	sip.PersistenceTimeout, sip.PersistenceEngine = durationpb.New(time.Minute), "sip"
	applyWell(t, f, request(sip))
	if got := ipvsadm(t, "-Sn"); !strings.Contains(got, "-s wrr -p 60") || !strings.Contains(got, "--pe sip") {
		t.Errorf("after loading:\n%s", got)
	}
	ipvsadm(t, "-C")
}

func TestKernelShowsWhatIsAdded(t *testing.T) {
	lab(t)
	f := started(t)
	response := applyWell(t, f, request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr))))
	if response.GetOperations() != 2 || response.GetAppliedAt() == nil {
		t.Errorf("response %v", response)
	}
	got := ipvsadm(t, "-Ln")
	if !strings.Contains(got, "TCP  192.0.2.100:80 rr") || !strings.Contains(got, "-> 192.0.2.1:80                 Route   3") {
		t.Errorf("ipvsadm -Ln:\n%s", got)
	}
}

// oracle are tables, a line of ipvsadm each.
func oracle() map[string][]string {
	tables := map[string][]string{}
	for _, s := range []string{"rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "mh", "fo", "ovf"} {
		tables["scheduler "+s] = []string{"-A -t 192.0.2.100:80 -s " + s, "-a -t 192.0.2.100:80 -r 192.0.2.1 -g -w 2"}
	}
	for name, flag := range map[string]string{"NAT": "-m", "DR": "-g", "TUN": "-i"} {
		for _, p := range []string{"-t", "-u", "--sctp-service"} {
			tables[name+" IPv4 "+p] = []string{"-A " + p + " 192.0.2.100:80 -s rr", "-a " + p + " 192.0.2.100:80 -r 192.0.2.1 -w 0 " + flag}
			tables[name+" IPv6 "+p] = []string{"-A " + p + " [2001:db8::100]:80 -s rr", "-a " + p + " [2001:db8::100]:80 -r [2001:db8::1]:80 -w 7 " + flag}
		}
		tables[name+" mark"] = []string{"-A -f 3 -s rr", "-a -f 3 -r 192.0.2.1 " + flag}
		tables[name+" mark inet6"] = []string{"-A -f 3 -6 -s rr", "-a -f 3 -6 -r [2001:db8::1]:0 " + flag}
	}
	for name, lines := range map[string][]string{
		"nothing":             {},
		"no real server":      {"-A -t 192.0.2.100:80 -s wlc"},
		"NAT to another port": {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1:8080 -m", "-a -t 192.0.2.100:80 -r 192.0.2.1:8081 -m"},
		"both families mark":  {"-A -f 9 -s rr", "-A -f 9 -6 -s wrr", "-a -f 9 -r 192.0.2.1 -g", "-a -f 9 -6 -r [2001:db8::1]:0 -g"},
		"largest mark":        {"-A -f 4294967295 -s rr"},
		"persistent":          {"-A -t 192.0.2.100:80 -s rr -p 50", "-a -t 192.0.2.100:80 -r 192.0.2.1 -g"},
		"persistent, mask":    {"-A -t 192.0.2.100:80 -s rr -p 360 -M 255.255.255.0"},
		"persistent, /1":      {"-A -t 192.0.2.100:80 -s rr -p 360 -M 128.0.0.0"},
		"persistent IPv6":     {"-A -t [2001:db8::100]:80 -s rr -p 360"},
		"persistent, /64":     {"-A -t [2001:db8::100]:80 -s rr -p 2678400 -M 64"},
		"every port":          {"-A -t 192.0.2.100:0 -s rr -p 60", "-a -t 192.0.2.100:0 -r 192.0.2.1:0 -g"},
		"persistence engine":  {"-A -u 192.0.2.100:5060 -s rr -p 60 --pe sip"},
		"one packet":          {"-A -u 192.0.2.100:53 -s rr --ops", "-a -u 192.0.2.100:53 -r 192.0.2.1 -m"},
		"sh flags":            {"-A -t 192.0.2.100:80 -s sh -b sh-fallback,sh-port"},
		"mh flags":            {"-A -t 192.0.2.100:80 -s mh -b mh-port"},
		"flag-3":              {"-A -t 192.0.2.100:80 -s rr -b flag-3"},
		"thresholds":          {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -g -x 100 -y 30", "-a -t 192.0.2.100:80 -r 192.0.2.2 -g -x 10"},
		"largest weight":      {"-A -t 192.0.2.100:80 -s wrr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -g -w 2147483647"},
		"TUN gue":             {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -i --tun-type gue --tun-port 6080 --tun-nocsum"},
		"TUN gue csum":        {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -i --tun-type gue --tun-port 6080 --tun-csum"},
		"TUN gue remcsum":     {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -i --tun-type gue --tun-port 6080 --tun-remcsum"},
		"TUN gre csum":        {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -i --tun-type gre --tun-csum"},
		"TUN gre":             {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r 192.0.2.1 -i --tun-type gre --tun-nocsum"},
		"IPv6 behind IPv4":    {"-A -t 192.0.2.100:80 -s rr", "-a -t 192.0.2.100:80 -r [2001:db8::1]:80 -i", "-a -t 192.0.2.100:80 -r 192.0.2.1 -g"},
		"IPv4 behind IPv6":    {"-A -t [2001:db8::100]:80 -s rr", "-a -t [2001:db8::100]:80 -r 192.0.2.1:80 -i"},
	} {
		tables[name] = lines
	}
	return tables
}

// apart gives the lines of a table with addresses and marks of its own, so that all tables
// fit into one.
func apart(lines []string, i int) string {
	replacer := strings.NewReplacer(
		"192.0.2.100:", fmt.Sprintf("10.9.%d.100:", i), "[2001:db8::100]:", fmt.Sprintf("[2001:db8::%x:100]:", i),
		"-f 3", fmt.Sprintf("-f %d", 1000+i), "-f 9", fmt.Sprintf("-f %d", 2000+i))
	return replacer.Replace(strings.Join(append(lines, ""), "\n"))
}

// TestKernelOracle: what ipvsadm makes is read as what makes the same when it is applied.
func TestKernelOracle(t *testing.T) {
	lab(t)
	f := started(t)
	var all strings.Builder
	tables := oracle()
	for i, name := range slices.Sorted(maps.Keys(tables)) {
		all.WriteString(apart(tables[name], i))
	}
	restore := exec.Command("ipvsadm", "-R")
	restore.Stdin = strings.NewReader(all.String())
	if out, err := restore.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("ipvsadm -R: %v\n%s", err, out)
	}
	want := saved(t)
	observed := observe(t, f).GetVirtualServers()
	if n := strings.Count(all.String(), "-A "); len(observed) != n {
		t.Fatalf("%d services are read, ipvsadm made %d", len(observed), n)
	}
	if adopted := applyWell(t, f, request(observed...)); adopted.GetOperations() != 0 {
		t.Errorf("adopting took %d operations", adopted.GetOperations())
	}
	ipvsadm(t, "-C")
	applyWell(t, f, request(observed...))
	if got := saved(t); got != want {
		t.Errorf("ipvsadm made\n%s\nApply made\n%s", want, got)
	}
	if again := applyWell(t, f, request(observed...)); again.GetOperations() != 0 {
		t.Errorf("applying again took %d operations", again.GetOperations())
	}

	// Every table in the place of the one before it: edits, where the key stays.
	for _, v := range observed {
		switch {
		case v.GetKey().GetFwmark() != 0:
			v.Key.Fwmark = 3
		case v.GetKey().GetFamily() == forwardv1.Family_FAMILY_IPV6:
			v.Key.Address, v.Key.Port, v.Key.Protocol = "2001:db8::100", 80, forwardv1.Protocol_PROTOCOL_TCP
		default:
			v.Key.Address, v.Key.Port, v.Key.Protocol = "10.9.9.9", 80, forwardv1.Protocol_PROTOCOL_TCP
		}
	}
	ipvsadm(t, "-C")
	byKey := map[string]*forwardv1.VirtualServer{}
	for _, v := range observed {
		byKey[v.GetKey().String()] = v
		applyWell(t, f, request(slices.Collect(maps.Values(byKey))...))
		for _, got := range observe(t, f).GetVirtualServers() {
			if want := byKey[got.GetKey().String()]; !sameVirtual(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
		}
	}
}

// sameVirtual compares whatever the order of the real servers.
func sameVirtual(a, b *forwardv1.VirtualServer) bool {
	return proto.Equal(inOrder(a), inOrder(b))
}

func inOrder(v *forwardv1.VirtualServer) *forwardv1.VirtualServer {
	v = proto.CloneOf(v)
	slices.SortFunc(v.RealServers, func(a, b *forwardv1.RealServer) int { return strings.Compare(a.String(), b.String()) })
	return v
}

// TestKernelWire: what ipvsadm makes is read as these fields.
func TestKernelWire(t *testing.T) {
	lab(t)
	f := started(t)
	ipvsadm(t, "-A -u [2001:db8::100]:53 -s sh -b sh-fallback,sh-port -p 90 -M 48")
	ipvsadm(t, "-a -u [2001:db8::100]:53 -r [2001:db8::1]:53 -i -w 4 -x 20 -y 10 --tun-type gue --tun-port 6080 --tun-csum")
	want := service("sh", "2001:db8::100", 53, &forwardv1.RealServer{
		Address: "2001:db8::1", Port: 53, Weight: 4, Method: tun, TunnelType: forwardv1.TunnelType_TUNNEL_TYPE_GUE, TunnelPort: 6080,
		TunnelChecksum: forwardv1.TunnelChecksum_TUNNEL_CHECKSUM_FULL, UpperThreshold: 20, LowerThreshold: 10, Counters: &forwardv1.Counters{},
	})
	want.Key.Protocol = forwardv1.Protocol_PROTOCOL_UDP
	want.SchedulerFlags = []string{"flag-1", "flag-2"}
	want.PersistenceTimeout, want.PersistencePrefix, want.Counters = durationpb.New(90*time.Second), 48, &forwardv1.Counters{}
	got := observe(t, f).GetVirtualServers()
	if len(got) != 1 || !proto.Equal(got[0], want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestKernelLargeTable(t *testing.T) {
	lab(t)
	f := started(t)
	s := service("wrr", "192.0.2.100", 80, manyReals(1000)...)
	if n := applyWell(t, f, request(s)).GetOperations(); n != 1001 {
		t.Errorf("%d operations for 1000 real servers", n)
	}
	s.RealServers[500].Weight = 9
	if n := applyWell(t, f, request(s)).GetOperations(); n != 1 {
		t.Errorf("one weight changed: %d operations", n)
	}
	if got := strings.Count(ipvsadm(t, "-Sn"), "-a -t"); got != 1000 {
		t.Errorf("%d real servers are there", got)
	}
}

func manyReals(n int) []*forwardv1.RealServer {
	reals := make([]*forwardv1.RealServer, n)
	for i := range reals {
		reals[i] = real(fmt.Sprintf("10.0.%d.%d", i/250, i%250+1), 80, 1, dr)
	}
	return reals
}
