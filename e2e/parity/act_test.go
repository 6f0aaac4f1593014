package parity

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/fault"
	"github.com/poise-lb/poise/e2e/lab"
)

// act is something that is done on both sides, and the state of the case after it.
type act struct {
	name string
	do   func(*side)
	want string
	// poise is its state where it is meant to be another, and why.
	poise, why string
}

const actPatience = 30 * time.Second

// now is the state that a case's real server is in.
func (s *stage) now(x *side, e entry) string {
	changes := s.watch.Changes(x.index, e.service)
	if len(changes) == 0 {
		return ""
	}
	return e.state(changes[len(changes)-1].Weights)
}

// acts does one after the other and waits each time for both tables.
func (s *stage) acts(e entry, list ...act) (rows []row) {
	s.t.Helper()
	for _, a := range list {
		for _, x := range s.sides {
			if a.do != nil {
				a.do(x)
			}
		}
		want := a.want
		r := row{checker: e.checker, name: e.Name + ": " + a.name, verdict: "same"}
		if a.poise != "" {
			want, r.verdict = a.poise, "meant: "+a.why
		}
		err := lab.Poll(actPatience, a.name, func() (bool, string) {
			r.poise, r.keepalived = s.now(s.sides[0], e), s.now(s.sides[1], e)
			return r.keepalived == a.want && r.poise == want, ""
		})
		if err != nil {
			r.wrong, r.verdict = true, fmt.Sprintf("WRONG: want %q of keepalived, %q of poise", a.want, want)
			s.t.Errorf("%s, %s: keepalived %q, poise %q: %s", r.checker, r.name, r.keepalived, r.poise, r.verdict)
		}
		rows = append(rows, r)
	}
	return rows
}

// entriesOf are cases with ports.
func entriesOf(checker string, cases ...Case) []entry {
	var out []entry
	for i, c := range cases {
		e := entry{Case: c, checker: checker, port: port(i)}
		e.service = e.shared(0)
		out = append(out, e)
	}
	return out
}

// write puts text in a file of the daemon's directory.
func write(name, text string) func(*side) {
	return func(x *side) { x.director.WriteFile(name, text) }
}

// TestFilePairs changes a tracked file.
func TestFilePairs(t *testing.T) {
	s := newStage(t)
	list := entriesOf("FILE_CHECK",
		Case{Name: "weight 1", Before: "track_file one {\n\tfile DIR/one\n\tweight 1\n\tinit_file 0\n}\n", Real: "weight 10",
			Check: "FILE_CHECK {\n\t\t\ttrack_file one\n\t\t}\n"},
		Case{Name: "weight 0", Before: "track_file none {\n\tfile DIR/none\n\tweight 0\n\tinit_file 0\n}\n", Real: "weight 10",
			Check: "FILE_CHECK {\n\t\t\ttrack_file none\n\t\t\tweight 0\n\t\t}\n"},
		Case{Name: "weight -2", Before: "track_file two {\n\tfile DIR/two\n\tweight 1\n\tinit_file 0\n}\n", Real: "weight 10",
			Check: "FILE_CHECK {\n\t\t\ttrack_file two\n\t\t\tweight -2\n\t\t}\n"})
	s.start(list)
	defer s.stop()
	report(append(append(
		s.acts(list[0], act{"start", nil, "w=10", "", ""}, act{"5", write("one", "5\n"), "w=15", "", ""}, act{"-3", write("one", "-3\n"), "w=7", "", ""},
			act{"-100", write("one", "-100\n"), "w=0", "", ""}, act{"0", write("one", "0\n"), "w=10", "", ""}),
		s.acts(list[1], act{"start", nil, "w=10", "", ""}, act{"1", write("none", "1\n"), "out", "", ""}, act{"0", write("none", "0\n"), "w=10", "", ""})...),
		s.acts(list[2], act{"2", write("two", "2\n"), "w=6", "", ""}, act{"0", write("two", "0\n"), "w=10", "", ""})...))
}

// TestLocalErrorPairs takes the address away that probes come from: a check that cannot
// be made says nothing about its target.
func TestLocalErrorPairs(t *testing.T) {
	s := newStage(t)
	const local = "192.168.1.50"
	list := entriesOf("TCP_CHECK",
		Case{Name: "bindto", Kind: fault.TCP, Steps: "good", With: "bindto " + local},
		Case{Name: "beside it", Kind: fault.TCP, Steps: "good"})
	s.start(list)
	defer s.stop()
	address := func(verb string) func(*side) {
		return func(x *side) { x.host.IP("address " + verb + " " + local + "/24 dev eth0") }
	}
	more := func(e entry, x *side, n int) {
		t.Helper()
		before := len(x.probes(e))
		lab.Eventually(t, actPatience, "probes of "+e.Name+" by "+string(x.daemon), func() (bool, string) {
			return len(x.probes(e)) >= before+n, fmt.Sprint(len(x.probes(e)), " after ", before)
		})
	}
	for _, x := range s.sides {
		more(list[0], x, 2)
	}
	rows := s.acts(list[0], act{"start", nil, "in", "", ""}, act{"the address goes", address("del"), "in", "", ""})
	for _, x := range s.sides {
		before := len(x.probes(list[0]))
		more(list[1], x, 4)
		if after := len(x.probes(list[0])); after > before+1 {
			t.Errorf("%s made %d probes from an address that is not there", x.daemon, after-before)
		}
	}
	lab.Eventually(t, actPatience, "poise says that it does not know", func() (bool, string) {
		out, _ := s.sides[0].director.Poise("events")
		return strings.Contains(out, "unknown: bind to "+local), out
	})
	rows = append(rows, s.acts(list[0], act{"after four probes that could not be made; poise's events say unknown", nil, "in", "", ""},
		act{"it is back", address("add"), "in", "", ""})...)
	for _, x := range s.sides {
		more(list[0], x, 2)
	}
	report(rows)
}

// TestSharedProbePairs has the same check in two virtual servers: poise makes one probe
// for both, keepalived one for each.
func TestSharedProbePairs(t *testing.T) {
	s := newStage(t)
	check := "TCP_CHECK {\n connect_port 10000\n}\n"
	list := entriesOf("TCP_CHECK", Case{Name: "first", Kind: fault.TCP, Steps: "good*4 refuse*6 good", Own: virtual + " PORT", Check: check},
		Case{Name: "second", Own: virtual + " PORT", Check: check})
	s.start(list)
	defer s.stop()
	var rows []row
	for i, e := range list {
		count := list[0]
		lab.Eventually(t, patience, "all probes", func() (bool, string) {
			return len(s.sides[0].probes(count)) > 12 && len(s.sides[1].probes(count)) > 14, ""
		})
		e.Kind, e.Steps = count.Kind, count.Steps
		r := row{checker: e.checker, name: "equal checks: " + e.Name, verdict: "meant: poise makes one probe for both virtual servers"}
		r.poise, r.keepalived = s.outcomeOf(s.sides[0], e, count, 12), s.outcomeOf(s.sides[1], e, count, 14)
		if r.poise != "in out@6 in@11" {
			r.wrong = true
			t.Errorf("%d: poise %q, want in out@6 in@11\n%s", i, r.poise, times(s.sides[0].probes(count)))
		}
		states := strings.Fields(r.keepalived)
		if len(states) != 3 || !strings.HasPrefix(states[1], "out@") || !strings.HasPrefix(states[2], "in@") {
			t.Errorf("%d: keepalived %q", i, r.keepalived)
		}
		rows = append(rows, r)
	}
	// In the time of some of poise's probes keepalived makes twice as many.
	from, until := s.sides[0].probes(list[0])[1].At, s.sides[0].probes(list[0])[5].At
	n := 0
	for _, p := range s.sides[1].probes(list[0]) {
		if p.At.After(from) && p.At.Before(until) {
			n++
		}
	}
	if n < 6 || n > 11 {
		t.Errorf("keepalived made %d probes in the time of 4 of poise's", n)
	}
	report(rows)
}

// TestMarkPairs has a check that goes through the virtual address: a firewall mark sends
// it into a virtual server of IPVS.
func TestMarkPairs(t *testing.T) {
	newStage(t).play(together, Set{Checker: "TCP_CHECK", Cases: []Case{
		{Name: "through the virtual address, fwmark", Kind: fault.TCP, Steps: "good*2 refuse*3 good*2", Address: "192.168.1.107",
			With: "connect_ip " + lab.VIP + "\nconnect_port PORT\nfwmark 5", Want: "in out@4 in@6"},
		{Name: "the way there", Own: "fwmark 5\nlvs_method DR", Check: "TCP_CHECK {\n connect_port PORT1\n}\n", Ports: []fault.Port{{Kind: fault.TCP, Port: 1, Steps: "good"}}},
	}})
}

// TestBFDPairs has a session with a keepalived beside each daemon.
func TestBFDPairs(t *testing.T) {
	s := newStage(t)
	list := entriesOf("BFD_CHECK", Case{Name: "a keepalived as the neighbour", Real: "alpha",
		Before: "bfd_instance peer {\n\tneighbor_ip " + real + "\n\tsource_ip " + director + "\n\tmin_rx 100\n\tmin_tx 100\n\tmultiplier 5\n}\n",
		Check:  "BFD_CHECK {\n\t\t\tname peer\n\t\t}\n"})
	s.start(list)
	defer s.stop()
	peers := map[*side]*lab.Director{}
	for _, x := range s.sides {
		peers[x] = s.lab.Director(x.servers, lab.Keepalived, "bfd_instance peer {\n\tneighbor_ip "+director+"\n\tsource_ip "+real+"\n\tmin_rx 100\n\tmin_tx 100\n\tmultiplier 5\n}\n")
	}
	up := func(x *side) { peers[x].Start() }
	down := func(x *side) { peers[x].Kill9() }
	report(s.acts(list[0], act{"nobody is there", nil, "out", "", ""}, act{"up", up, "in", "", ""},
		act{"killed", down, "out", "", ""}, act{"up again", up, "in", "", ""},
		act{"the link goes", func(x *side) { x.servers.IP("link set eth0 down") }, "out", "", ""},
		act{"the link is back", func(x *side) { x.servers.IP("link set eth0 up") }, "in", "", ""}))
}

// TestServerPairs has servers of Debian's: nginx for HTTP and SSL, dnsmasq for DNS.
func TestServerPairs(t *testing.T) {
	s := newStage(t)
	list := entriesOf("HTTP_GET", Case{Name: "nginx", Check: get("HTTP_GET", "path /\nstatus_code 200\ndigest "+fault.PageMD5), With: "connect_port 80"},
		Case{Name: "nginx, TLS", Check: get("SSL_GET", "path /\nstatus_code 200\ndigest "+fault.PageMD5), With: "connect_port 443"},
		Case{Name: "dnsmasq", Check: "DNS_CHECK {\n}\n", With: "connect_port 53\ntype A\nname www.lab.test"})
	list[1].checker, list[2].checker = "SSL_GET", "DNS_CHECK"
	web := func(x *side) {
		x.launch(t, "nginx", "-c", x.nginx(t), "-e", filepath.Join(x.director.Dir, "nginx.log"))
	}
	dns := func(x *side) {
		x.launch(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
			"--pid-file="+filepath.Join(x.director.Dir, "dnsmasq.pid"), "--address=/www.lab.test/192.0.2.80")
	}
	for _, x := range s.sides {
		web(x)
		dns(x)
	}
	s.start(list)
	defer s.stop()
	stop := func(x *side) { x.killServers() }
	var rows []row
	for i, e := range list {
		rows = append(rows, s.acts(e, act{"up", nil, "in", "", ""})...)
		if i == len(list)-1 {
			rows = append(rows, s.acts(e, act{"all servers killed", stop, "out", "", ""})...)
		}
	}
	for _, e := range list[:2] {
		rows = append(rows, s.acts(e, act{"killed", nil, "out", "", ""})...)
	}
	rows = append(rows, s.acts(list[0], act{"started again", web, "in", "", ""})...)
	rows = append(rows, s.acts(list[1], act{"started again", nil, "in", "", ""})...)
	rows = append(rows, s.acts(list[2], act{"still down", nil, "out", "", ""}, act{"started again", dns, "in", "", ""})...)
	report(rows)
}

// nginx writes a configuration for nginx and gives its path.
func (x *side) nginx(t *testing.T) string {
	t.Helper()
	dir := x.director.Dir
	key, certificate, err := fault.PEM()
	if err != nil {
		t.Fatalf("make a certificate: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "www"), 0o755); err != nil {
		t.Fatal(err)
	}
	x.director.WriteFile("key.pem", key)
	x.director.WriteFile("cert.pem", certificate)
	x.director.WriteFile("www/index.html", fault.Page)
	return x.director.WriteFile("nginx.conf", strings.ReplaceAll(`daemon off;
user root;
worker_processes 1;
pid DIR/nginx.pid;
events {}
http {
	access_log off;
	client_body_temp_path DIR/t1; proxy_temp_path DIR/t2; fastcgi_temp_path DIR/t3; uwsgi_temp_path DIR/t4; scgi_temp_path DIR/t5;
	server {
		listen 80; listen 443 ssl;
		ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem;
		root DIR/www;
	}
}
`, "DIR", dir))
}

// launch starts a program on the servers' host; it goes with the host.
func (x *side) launch(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := x.servers.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	x.programs = append(x.programs, cmd)
	go func() { _ = cmd.Wait() }()
}

// killServers kills what launch has started, with what that has.
func (x *side) killServers() {
	var doomed []int // found before any is killed: orphans have another parent
	for _, cmd := range x.programs {
		for _, pid := range x.servers.Pids() {
			for p := pid; p > 1; p = lab.Parent(p) {
				if p == cmd.Process.Pid {
					doomed = append(doomed, pid)
					break
				}
			}
		}
	}
	for _, pid := range doomed {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	x.programs = nil
}
