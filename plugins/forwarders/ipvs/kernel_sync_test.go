package ipvs

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/kernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

const (
	master = forwardv1.SyncRole_SYNC_ROLE_MASTER
	backup = forwardv1.SyncRole_SYNC_ROLE_BACKUP
)

// syncLab makes the interfaces and stops the daemons afterwards.
func syncLab(t *testing.T) sdk.Forwarder {
	t.Helper()
	f := started(t)
	for i, name := range []string{"sync0", "sync1"} {
		run(t, "ip", "link", "add", name, "type", "dummy")
		run(t, "ip", "address", "add", netip.AddrFrom4([4]byte{203, 0, 113, byte(i*64 + 1)}).String()+"/26", "dev", name)
		run(t, "ip", "link", "set", name, "up", "multicast", "on")
		t.Cleanup(func() { run(t, "ip", "link", "delete", name) })
	}
	stop := func() {
		exec.Command("ipvsadm", "--stop-daemon", "master").Run()
		exec.Command("ipvsadm", "--stop-daemon", "backup").Run()
	}
	stop()
	t.Cleanup(stop)
	return f
}

func syncRequest(owned bool, s *forwardv1.ConnectionSync) *forwardv1.ApplyRequest {
	r := request()
	r.ConnectionSync, r.ConnectionSyncOwned = s, owned
	return r
}

func TestKernelSync(t *testing.T) {
	lab(t)
	f := syncLab(t)
	daemons := func() string { return strings.TrimSpace(ipvsadm(t, "-Ln --daemon")) }
	for _, step := range []struct {
		name  string
		owned bool
		want  *forwardv1.ConnectionSync
		ops   uint32
		shown string
	}{
		{"none", false, nil, 0, ""},
		{"backup", false, &forwardv1.ConnectionSync{Role: backup, Interface: "sync0", SyncId: 51}, 1,
			"backup sync daemon (mcast=sync0, syncid=51, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)"},
		{"the same", true, &forwardv1.ConnectionSync{Role: backup, Interface: "sync0", SyncId: 51}, 0,
			"backup sync daemon (mcast=sync0, syncid=51, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)"},
		{"to master", true, &forwardv1.ConnectionSync{Role: master, Interface: "sync0", SyncId: 51}, 2,
			"master sync daemon (mcast=sync0, syncid=51, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)"},
		{"everything", true, &forwardv1.ConnectionSync{Role: master, Interface: "sync1", SyncId: 255, MaxLength: 900, Port: 9000, Ttl: 5, Group: "224.0.0.99"}, 2,
			"master sync daemon (mcast=sync1, syncid=255, maxlen=900, group=224.0.0.99, port=9000, ttl=5)"},
		{"everything again", true, &forwardv1.ConnectionSync{Role: master, Interface: "sync1", SyncId: 255, MaxLength: 900, Port: 9000, Ttl: 5, Group: "224.0.0.99"}, 0,
			"master sync daemon (mcast=sync1, syncid=255, maxlen=900, group=224.0.0.99, port=9000, ttl=5)"},
		{"a length the kernel raises", true, &forwardv1.ConnectionSync{Role: backup, Interface: "sync1", MaxLength: 500}, 2,
			"backup sync daemon (mcast=sync1, syncid=0, maxlen=1024, group=224.0.0.81, port=8848, ttl=1)"},
		{"raised again", true, &forwardv1.ConnectionSync{Role: backup, Interface: "sync1", MaxLength: 500}, 0,
			"backup sync daemon (mcast=sync1, syncid=0, maxlen=1024, group=224.0.0.81, port=8848, ttl=1)"},
		{"a length the kernel lowers", true, &forwardv1.ConnectionSync{Role: backup, Interface: "sync1", MaxLength: 65535}, 2,
			"backup sync daemon (mcast=sync1, syncid=0, maxlen=65507, group=224.0.0.81, port=8848, ttl=1)"},
		{"lowered again", true, &forwardv1.ConnectionSync{Role: backup, Interface: "sync1", MaxLength: 65535}, 0,
			"backup sync daemon (mcast=sync1, syncid=0, maxlen=65507, group=224.0.0.81, port=8848, ttl=1)"},
		{"not wanted, not owned", false, nil, 0,
			"backup sync daemon (mcast=sync1, syncid=0, maxlen=65507, group=224.0.0.81, port=8848, ttl=1)"},
		{"not wanted", true, nil, 1, ""},
	} {
		began := time.Now()
		response := applyWell(t, f, syncRequest(step.owned, step.want))
		t.Logf("%s: %v", step.name, time.Since(began).Round(time.Millisecond))
		if response.GetOperations() != step.ops {
			t.Errorf("%s: %d operations, want %d", step.name, response.GetOperations(), step.ops)
		}
		if got := daemons(); got != step.shown {
			t.Errorf("%s: %q, want %q", step.name, got, step.shown)
		}
		if step.want != nil && step.want.MaxLength == 900 {
			if got := observe(t, f).GetConnectionSyncs(); len(got) != 1 || !proto.Equal(got[0], step.want) {
				t.Errorf("%s: observed %v", step.name, got)
			}
		}
	}
}

func TestKernelSyncForeign(t *testing.T) {
	lab(t)
	f := syncLab(t)
	ipvsadm(t, "--start-daemon backup --mcast-interface sync1 --syncid 9")
	foreign := ipvsadm(t, "-Ln --daemon")
	applyWell(t, f, syncRequest(false, &forwardv1.ConnectionSync{Role: master, Interface: "sync0"}))
	if got := ipvsadm(t, "-Ln --daemon"); !strings.Contains(got, foreign) || !strings.Contains(got, "master sync daemon (mcast=sync0") {
		t.Errorf("a foreign backup beside our master:\n%s", got)
	}
	drifts, _, _ := watch(t, f, 1<<40)
	ipvsadm(t, "--stop-daemon master")
	if got := next(t, drifts).GetRepairs(); len(got) != 1 || got[0] != "connection sync master on sync0, id 0 was not running: started" {
		t.Errorf("repairs %q", got)
	}
	if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_WITHDRAW); err != nil {
		t.Fatal(err)
	}
	if got := ipvsadm(t, "-Ln --daemon"); got != foreign {
		t.Errorf("after withdraw %q, want %q", got, foreign)
	}
}

// TestKernelSyncStoppedAtOnce stops daemons that have not run yet, which the kernel does
// not acknowledge.
func TestKernelSyncStoppedAtOnce(t *testing.T) {
	lab(t)
	syncLab(t)
	k, err := kernel.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for i := range 20 {
		daemon := table.Sync{Role: []table.Role{table.Master, table.Backup}[i%2], Interface: "sync0"}.Normal()
		for _, err := range k.Run([]table.Op{{Kind: table.StartSync, Sync: daemon}, {Kind: table.StopSync, Sync: daemon}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := ipvsadm(t, "-Ln --daemon"); got != "" {
		t.Errorf("left %q", got)
	}
}

func TestKernelSyncErrors(t *testing.T) {
	lab(t)
	f := syncLab(t)
	response := apply(t, f, syncRequest(false, &forwardv1.ConnectionSync{Role: master, Interface: "nosuch0"}))
	if len(response.GetErrors()) != 1 || response.GetErrors()[0].GetKey() != nil ||
		!strings.Contains(response.GetErrors()[0].GetMessage(), "there is no interface nosuch0") {
		t.Errorf("without the interface: %v", response)
	}
	mixed := service("rr", "192.0.2.100", 80, real("2001:db8::1", 80, 1, tun))
	r := request(mixed)
	r.ConnectionSync = &forwardv1.ConnectionSync{Role: master, Interface: "sync0"}
	response = apply(t, f, r)
	if len(response.GetErrors()) != 1 || !strings.Contains(response.GetErrors()[0].GetMessage(), "turn one of them off") {
		t.Errorf("sync beside mixed families: %v", response)
	}
	alone := syncRequest(false, r.ConnectionSync)
	alone.Owned = append(alone.Owned, mixed.GetKey())
	applyWell(t, f, alone)
	again := request(mixed)
	again.ConnectionSync = r.ConnectionSync
	response = apply(t, f, again)
	if len(response.GetErrors()) != 1 || response.GetErrors()[0].GetRealServer() != "[2001:db8::1]:80" ||
		!strings.Contains(response.GetErrors()[0].GetMessage(), "while connection sync runs") {
		t.Errorf("mixed families beside sync: %v", response)
	}
}
