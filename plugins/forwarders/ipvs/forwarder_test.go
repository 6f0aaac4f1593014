package ipvs

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/fakekernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/genl"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/kernel"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// faked gives a configured forwarder and its kernel.
func faked(t *testing.T) (*Forwarder, *fakekernel.Kernel) {
	t.Helper()
	k := fakekernel.New()
	f := newForwarder(func() (Kernel, error) { return k, nil })
	if err := f.Configure(t.Context(), sdk.Settings{BeatInterval: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	return f, k
}

// done gives the operations since the last call, in short.
func done(k *fakekernel.Kernel) []string {
	out := []string{}
	for _, op := range k.Done() {
		out = append(out, op.Verb()+" "+op.Object())
	}
	return out
}

func messages(errs []*forwardv1.ObjectError) string { return describe(errs) }

func TestApply(t *testing.T) {
	f, k := faked(t)
	if k.Probed() != 1 {
		t.Errorf("probed %d times", k.Probed())
	}
	r := request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr)))
	response := applyWell(t, f, r)
	if response.GetOperations() != 2 || response.GetGeneration() != r.GetGeneration() || response.GetAppliedAt() == nil {
		t.Errorf("first: %v", response)
	}
	if again := applyWell(t, f, r); again.GetOperations() != 0 || again.GetAppliedAt().AsTime() != response.GetAppliedAt().AsTime() {
		t.Errorf("the same generation again: %v", again)
	}
	r.Generation--
	if _, err := f.Apply(t.Context(), r); status.Code(err) != codes.Aborted {
		t.Errorf("an older generation: %v", err)
	}
	empty := request()
	empty.ReconcileInterval = nil
	if _, err := f.Apply(t.Context(), empty); status.Code(err) != codes.InvalidArgument {
		t.Errorf("without reconcile_interval: %v", err)
	}
	if got := len(observe(t, f).GetVirtualServers()); got != 1 {
		t.Errorf("%d services after what was refused", got)
	}
}

func TestApplyTellsWhatFailed(t *testing.T) {
	f, k := faked(t)
	k.Lack("wrr", true)
	k.Lack("sip", true)
	wrr := service("wrr", "192.0.2.101", 80, real("192.0.2.1", 80, 1, dr), real("192.0.2.2", 80, 1, dr))
	sip := service("rr", "192.0.2.102", 80)
	sip.PersistenceTimeout, sip.PersistenceEngine = durationpb.New(time.Minute), "sip"
	wrong := service("rr", "192.0.2.103", 80, real("192.0.2.300", 80, 1, dr), real("192.0.2.3", 80, 1, dr))
	response := apply(t, f, request(wrr, sip, wrong, service("rr", "192.0.2.104", 80)))
	var keys []string
	for _, e := range response.GetErrors() {
		keys = append(keys, e.GetKey().GetAddress()+" "+e.GetRealServer())
	}
	if want := []string{"192.0.2.103 192.0.2.300 port 80", "192.0.2.101 ", "192.0.2.102 "}; !slices.Equal(keys, want) {
		t.Errorf("errors of %q, want %q", keys, want)
	}
	for _, part := range []string{"load it with `modprobe ip_vs_wrr`", "`modprobe -a ip_vs_rr ip_vs_pe_sip`"} {
		if !strings.Contains(messages(response.GetErrors()), part) {
			t.Errorf("%q is not in %s", part, messages(response.GetErrors()))
		}
	}
	if got := len(observe(t, f).GetVirtualServers()); got != 2 {
		t.Errorf("%d services are there, want the two that can be", got)
	}
	k.Lack("wrr", false)
	k.Lack("sip", false)
	drift, err := f.repair()
	if err != nil || len(drift.GetRepairs()) != 4 || len(drift.GetErrors()) != 1 {
		t.Errorf("after the modules have been loaded: %v, %v", drift, err)
	}
	if drift, err := f.repair(); drift != nil || err != nil {
		t.Errorf("nothing new: %v, %v", drift, err)
	}
}

// meddler changes the table between a reading and the writing.
type meddler struct {
	*fakekernel.Kernel
	meddle func()
}

func (m *meddler) Run(ops []table.Op) []error {
	if meddle := m.meddle; meddle != nil {
		m.meddle = nil
		meddle()
	}
	return m.Kernel.Run(ops)
}

func TestApplyReadsAgainWhenSomebodyMeddles(t *testing.T) {
	k := &meddler{Kernel: fakekernel.New()}
	f := newForwarder(func() (Kernel, error) { return k, nil })
	r := request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr)))
	want, _ := decodeRequest(r)
	k.meddle = func() {
		other := want.Services[0].Service
		other.Scheduler = "wlc"
		k.Kernel.Run([]table.Op{{Kind: table.AddService, Service: other}})
	}
	applyWell(t, f, r)
	v := observe(t, f).GetVirtualServers()
	if len(v) != 1 || v[0].GetScheduler() != "rr" || len(v[0].GetRealServers()) != 1 {
		t.Errorf("table %v", v)
	}
}

func TestNoKernel(t *testing.T) {
	f, k := faked(t)
	for err, code := range map[error]codes.Code{
		kernel.ErrNoIPVS: codes.FailedPrecondition, kernel.ErrNotPermitted: codes.FailedPrecondition, genl.ErrLost: codes.Unavailable,
	} {
		k.Break(err)
		if _, got := f.Observe(t.Context()); status.Code(got) != code || !strings.Contains(got.Error(), err.Error()) {
			t.Errorf("Observe where %v: %v", err, got)
		}
		if _, got := f.Apply(t.Context(), request(service("rr", "192.0.2.100", 80))); status.Code(got) != code {
			t.Errorf("Apply where %v: %v", err, got)
		}
	}
	k.Break(nil)
	drift, err := f.repair()
	if err != nil || len(drift.GetRepairs()) != 1 {
		t.Errorf("the last request is made up for: %v, %v", drift, err)
	}
	if _, err := newForwarder(func() (Kernel, error) { return nil, errors.New("no") }).Observe(t.Context()); status.Code(err) != codes.Unavailable {
		t.Errorf("open fails: %v", err)
	}
}

func TestOwned(t *testing.T) {
	f, k := faked(t)
	a, b := service("rr", "192.0.2.101", 80), service("rr", "192.0.2.102", 80)
	applyWell(t, f, request(a, b))
	r := request(a)
	r.Owned = append(r.Owned, a.GetKey(), b.GetKey())
	k.Done()
	applyWell(t, f, r)
	if got := done(k); !slices.Equal(got, []string{"remove TCP 192.0.2.102:80"}) {
		t.Errorf("owned: %q", got)
	}
	want, _ := decodeRequest(request(b))
	k.Run([]table.Op{{Kind: table.AddService, Service: want.Services[0].Service}})
	if drift, err := f.repair(); drift != nil || err != nil {
		t.Errorf("somebody else's now: %v, %v", drift, err)
	}
	if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_WITHDRAW); err != nil {
		t.Fatal(err)
	}
	state, _ := k.Read()
	if len(state.Services) != 1 || state.Services[0].Service.Key != want.Services[0].Service.Key {
		t.Errorf("after withdraw: %v", state)
	}
}

func TestStop(t *testing.T) {
	sync := &forwardv1.ConnectionSync{Role: backup, Interface: "eth0"}
	for mode, want := range map[pluginv1.StopMode]int{pluginv1.StopMode_STOP_MODE_LEAVE: 2, pluginv1.StopMode_STOP_MODE_WITHDRAW: 0} {
		f, k := faked(t)
		r := request(service("rr", "192.0.2.100", 80))
		r.ConnectionSync = sync
		applyWell(t, f, r)
		if err := f.Stop(t.Context(), mode); err != nil {
			t.Fatal(err)
		}
		if err := f.Stop(t.Context(), mode); err != nil {
			t.Errorf("%s twice: %v", mode, err)
		}
		state, _ := k.Read()
		if got := len(state.Services) + len(state.Syncs); got != want {
			t.Errorf("%s: %d objects, want %d", mode, got, want)
		}
		k.Restart()
		if drift, err := f.repair(); drift != nil || err != nil {
			t.Errorf("%s: repairs afterwards: %v, %v", mode, drift, err)
		}
		if _, err := f.Apply(t.Context(), request()); status.Code(err) != codes.FailedPrecondition {
			t.Errorf("%s: Apply afterwards: %v", mode, err)
		}
	}
	f, _ := faked(t)
	if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_UNSPECIFIED); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no mode: %v", err)
	}
	f, k := faked(t)
	applyWell(t, f, request(service("rr", "192.0.2.100", 80)))
	k.Break(errors.New("no"))
	if err := f.Stop(t.Context(), pluginv1.StopMode_STOP_MODE_WITHDRAW); err == nil {
		t.Error("withdraw where the kernel does not answer: no error")
	}
}

func TestWatch(t *testing.T) {
	f, k := faked(t)
	drifts, observed, beats := watch(t, f, 10*time.Millisecond)
	first := next(t, beats)
	if second := next(t, beats); second <= first {
		t.Errorf("progress %d after %d", second, first)
	}
	if got := next(t, observed); len(got.GetVirtualServers()) != 0 || got.GetPlatform() != "fake IPVS" {
		t.Errorf("observed %v", got)
	}
	r := request(service("rr", "192.0.2.100", 80, real("192.0.2.1", 80, 3, dr)))
	r.ReconcileInterval = durationpb.New(10 * time.Millisecond)
	applyWell(t, f, r)
	k.Restart()
	drift := next(t, drifts)
	if want := []string{"TCP 192.0.2.100:80 was missing: added", "real server 192.0.2.1:80 of TCP 192.0.2.100:80 was missing: added"}; !slices.Equal(drift.GetRepairs(), want) || drift.GetFoundAt() == nil {
		t.Errorf("drift %v", drift)
	}
	k.Lack("wrr", true)
	k.Restart()
	next(t, drifts)
	r.Generation++
	r.VirtualServers[0].Scheduler = "wrr"
	if response := apply(t, f, r); len(response.GetErrors()) != 1 {
		t.Errorf("without the module: %v", response)
	}
	k.Lack("wrr", false)
	if drift := next(t, drifts); len(drift.GetErrors()) != 0 || len(drift.GetRepairs()) != 1 {
		t.Errorf("with the module: %v", drift)
	}
	k.Break(errors.New("no answer"))
	next(t, beats)
	k.Break(nil)
	until(t, "reports after the kernel answers again", func() bool { return len(next(t, observed).GetVirtualServers()) == 1 })
}

func TestWatchEnds(t *testing.T) {
	f, _ := faked(t)
	broken := errors.New("stream broke")
	if err := f.Watch(t.Context(), time.Hour, func(*forwardv1.WatchResponse) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("report fails: %v", err)
	}
	if err := f.Watch(t.Context(), 0, nil); err == nil {
		t.Error("no interval: no error")
	}
}

func TestConfigure(t *testing.T) {
	f, k := faked(t)
	if err := f.Configure(t.Context(), sdk.Settings{Parameters: json.RawMessage(`{}`)}); err != nil || k.Probed() != 1 {
		t.Errorf("again: %v, probed %d times", err, k.Probed())
	}
	for _, parameters := range []string{`{"flush":true}`, `[]`, `{`} {
		if err := f.Configure(t.Context(), sdk.Settings{Parameters: json.RawMessage(parameters)}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("parameters %s: %v", parameters, err)
		}
	}
	k.Break(kernel.ErrNoIPVS)
	g := newForwarder(func() (Kernel, error) { return k, nil })
	if err := g.Configure(t.Context(), sdk.Settings{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("without IPVS: %v", err)
	}
	if !json.Valid(f.Schema()) {
		t.Error("the schema is no JSON")
	}
}
