package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// echo is a checker whose parameters say what its probes do.
type echo struct {
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	Panic   bool   `json:"panic"`
	Stuck   bool   `json:"stuck"`

	probes *atomic.Int64
}

func (e echo) Parse(raw json.RawMessage) (sdk.Prober, error) {
	e.Outcome = "up"
	if err := sdk.Decode(raw, &e); err != nil {
		return nil, err
	}
	if e.Outcome == "panic" {
		panic("parse")
	}
	if e.Outcome == "" {
		return nil, sdk.Errorf("/outcome", "must not be empty")
	}
	return e, nil
}

func (e echo) Schema() json.RawMessage { return sdk.Schema(echo{Outcome: "up"}) }

func (e echo) Probe(ctx context.Context, t sdk.Target) sdk.Result {
	e.probes.Add(1)
	t.Trace("probing %s from %s", t.Addr, t.Source)
	if e.Panic {
		panic("probe")
	}
	if e.Stuck {
		<-ctx.Done()
		time.Sleep(500 * time.Millisecond)
	}
	return sdk.Result{Outcome: map[string]sdk.Outcome{"up": sdk.Up, "down": sdk.Down}[e.Outcome], Reason: e.Reason}
}

func serveEcho(t *testing.T) (*plugintest.Client, *atomic.Int64) {
	probes := new(atomic.Int64)
	c := plugintest.Serve(t, sdk.Plugin{Name: "echo", Version: "1.0", Checkers: map[string]sdk.Checker{"echo": echo{probes: probes}}})
	c.Configure(t, "")
	return c, probes
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func wire(id, parameters string) *checkv1.Check {
	return &checkv1.Check{
		Id: id, Type: "echo", Target: &checkv1.Target{Address: "192.0.2.1", Port: 80}, ParametersJson: []byte(parameters),
		Schedule: &checkv1.Schedule{Interval: durationpb.New(50 * time.Millisecond), Timeout: durationpb.New(time.Second)},
	}
}

// known gives a check that fails, with a thousand retries, and was something before.
func known(id string, state checkv1.VerdictState) *checkv1.Check {
	c := wire(id, `{"outcome":"down","reason":"refused"}`)
	c.Known, c.Schedule.Retries = state, 1000
	return c
}

// stream is an open stream of checks.
type stream struct {
	t *testing.T
	checkv1.CheckService_RunClient
	generation uint64
	applied    *checkv1.Applied
	verdicts   map[string]*checkv1.Verdict
	beats      []*checkv1.Beat
}

func openChecks(t *testing.T, c *plugintest.Client, ctx context.Context) *stream {
	t.Helper()
	run, err := c.Check.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &stream{t: t, CheckService_RunClient: run, verdicts: map[string]*checkv1.Verdict{}}
}

func (s *stream) set(generation uint64, checks ...*checkv1.Check) {
	s.t.Helper()
	if err := s.Send(&checkv1.RunRequest{Message: &checkv1.RunRequest_SetChecks{SetChecks: &checkv1.SetChecks{Generation: generation, Checks: checks}}}); err != nil {
		s.t.Fatal(err)
	}
}

// until receives until done says so.
func (s *stream) until(what string, done func() bool) {
	s.t.Helper()
	for !done() {
		m, err := s.Recv()
		if err != nil {
			s.t.Fatalf("waiting until %s: %s", what, err)
		}
		if a := m.GetApplied(); a != nil {
			s.applied = a
		}
		for _, v := range m.GetVerdicts().GetVerdicts() {
			s.verdicts[v.GetCheckId()] = v
		}
		if b := m.GetBeat(); b != nil {
			s.beats = append(s.beats, b)
		}
	}
}

func TestConform(t *testing.T) {
	c, _ := serveEcho(t)
	plugintest.Conform(t, c, map[string]string{"echo": `{"outcome":"down"}`})
}

func TestChecks(t *testing.T) {
	c, probes := serveEcho(t)
	s := openChecks(t, c, within(t))
	s.set(4,
		wire("up", ""), wire("down", `{"outcome":"down","reason":"refused"}`), wire("panics", `{"panic":true}`),
		known("known down", checkv1.VerdictState_VERDICT_STATE_DOWN), known("known up", checkv1.VerdictState_VERDICT_STATE_UP),
		wire("bytes", `{"outcome":"down","reason":"said \u0000"}`),
		wire("bad key", `{"outcme":"down"}`), wire("bad value", `{"outcome":""}`), wire("bad parse", `{"outcome":"panic"}`),
		&checkv1.Check{Id: "bad type", Type: "none"},
		&checkv1.Check{Id: "bad address", Type: "echo", Target: &checkv1.Target{Address: "example.org"}},
		&checkv1.Check{Id: "no schedule", Type: "echo", Target: &checkv1.Target{Address: "::1"}},
		&checkv1.Check{Id: "mixed", Type: "echo", Target: &checkv1.Target{Address: "::1", SourceAddress: "127.0.0.1"}},
	)
	s.until("there are five verdicts", func() bool { return len(s.verdicts) == 5 })
	if s.applied.GetGeneration() != 4 {
		t.Errorf("generation %d was applied before the verdicts, want 4", s.applied.GetGeneration())
	}
	rejected := map[string]string{}
	for _, r := range s.applied.GetRejected() {
		rejected[r.GetCheckId()] = r.GetPath() + " " + r.GetMessage()
	}
	for id, want := range map[string]string{
		"bad key": "/outcme unknown key", "bad value": "/outcome must not be empty", "bad parse": " the checker panicked",
		"bad type": ` no checks of type "none" here; there are echo`, "bad address": ` the target's address "example.org"`,
		"no schedule": " the schedule's interval of 0s", "mixed": " the source address 127.0.0.1",
	} {
		if !strings.HasPrefix(rejected[id], want) {
			t.Errorf("%s was rejected with %q, want %q", id, rejected[id], want)
		}
	}
	if len(rejected) != 7 {
		t.Errorf("rejected %v, want 7", rejected)
	}
	for id, want := range map[string]checkv1.VerdictState{
		"up": checkv1.VerdictState_VERDICT_STATE_UP, "down": checkv1.VerdictState_VERDICT_STATE_DOWN, "known down": checkv1.VerdictState_VERDICT_STATE_DOWN, "panics": checkv1.VerdictState_VERDICT_STATE_UNKNOWN,
	} {
		if v := s.verdicts[id]; v.GetState() != want || (v.GetReason() == "") != (id == "up") || time.Since(v.GetDecidedAt().AsTime()) > patience {
			t.Errorf("%s: %v, want %s", id, v, want)
		}
	}
	s.until("there are five beats", func() bool { return len(s.beats) >= 5 })
	if v := s.verdicts["known up"]; v != nil {
		t.Errorf("known up: %v after %d beats, want its retries first", v, len(s.beats))
	}
	for i, b := range s.beats[1:] {
		if b.GetBeat().GetProgress() <= s.beats[i].GetBeat().GetProgress() {
			t.Errorf("progress of beats stands still: %v", s.beats)
		}
	}
	if last := s.beats[len(s.beats)-1]; last.GetProbes() < 5 || last.GetFailures() == 0 || last.GetProbes() > uint64(probes.Load()) {
		t.Errorf("beat %v, with %d probes made", last, probes.Load())
	}
}

// TestReopen: a stream that is opened again, even while the old one seems alive, is
// told every verdict, and the checks have gone on.
func TestReopen(t *testing.T) {
	c, probes := serveEcho(t)
	old := openChecks(t, c, within(t))
	old.set(1, wire("up", ""), wire("down", `{"outcome":"down","reason":"refused"}`))
	old.until("there are two verdicts", func() bool { return len(old.verdicts) == 2 })
	s := openChecks(t, c, within(t))
	s.until("the verdicts are told again", func() bool { return len(s.verdicts) == 2 })
	if _, err := old.Recv(); err == nil {
		for err == nil {
			_, err = old.Recv()
		}
		if status.Code(err) != codes.Aborted {
			t.Errorf("the old stream ended with %v, want Aborted", err)
		}
	}
	before := probes.Load()
	s.set(2, wire("up", ""), wire("new", ""))
	s.until("the new check has a verdict", func() bool { return s.verdicts["new"] != nil })
	for deadline := time.Now().Add(patience); probes.Load() < before+4; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the checks do not go on")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Plugin.Stop(ctx, &pluginv1.StopRequest{Mode: pluginv1.StopMode_STOP_MODE_LEAVE}); err != nil {
		t.Fatal(err)
	}
	stopped := probes.Load()
	time.Sleep(120 * time.Millisecond)
	if n := probes.Load(); n != stopped {
		t.Errorf("%d probes after stop", n-stopped)
	}
}

// TestLargeSet: a set beyond gRPC's usual 4 MiB, sent to a plugin that nobody listens
// to for a while, costs nothing and ends in one verdict for each check.
func TestLargeSet(t *testing.T) {
	c, _ := serveEcho(t)
	s := openChecks(t, c, within(t))
	reason := strings.Repeat("x", 3000)
	checks := make([]*checkv1.Check, 2000)
	for i := range checks {
		checks[i] = wire(fmt.Sprint("check ", i), `{"outcome":"down","reason":"`+reason+`"}`)
		checks[i].Schedule.Interval = durationpb.New(time.Minute)
	}
	s.set(1, checks...)
	time.Sleep(300 * time.Millisecond)
	s.until("all have a verdict", func() bool { return len(s.verdicts) == len(checks) })
}

func TestProbe(t *testing.T) {
	c, _ := serveEcho(t)
	request := func(parameters string) *checkv1.ProbeRequest {
		return &checkv1.ProbeRequest{Type: "echo", Target: &checkv1.Target{Address: "192.0.2.1", Port: 80, SourceAddress: "192.0.2.2"}, ParametersJson: []byte(parameters), Timeout: durationpb.New(100 * time.Millisecond)}
	}
	tests := []struct {
		name, parameters string
		state            checkv1.VerdictState
		reason           string
	}{
		{"up", "", checkv1.VerdictState_VERDICT_STATE_UP, ""},
		{"down", `{"outcome":"down","reason":"refused"}`, checkv1.VerdictState_VERDICT_STATE_DOWN, "refused"},
		{"no reason", `{"outcome":"down"}`, checkv1.VerdictState_VERDICT_STATE_DOWN, "the checker gave no reason"},
		{"panic", `{"panic":true}`, checkv1.VerdictState_VERDICT_STATE_UNKNOWN, "the checker panicked: probe"},
		{"stuck", `{"stuck":true}`, checkv1.VerdictState_VERDICT_STATE_UNKNOWN, "the checker hangs: its probe did not return within 100ms"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := c.Check.Probe(within(t), request(test.parameters))
			if err != nil {
				t.Fatal(err)
			}
			if got.GetState() != test.state || got.GetReason() != test.reason {
				t.Errorf("got %v", got)
			}
			if len(got.GetTranscript()) != 1 || !strings.HasSuffix(got.GetTranscript()[0], "probing 192.0.2.1:80 from 192.0.2.2:0") {
				t.Errorf("transcript %q", got.GetTranscript())
			}
		})
	}
	for name, bad := range map[string]*checkv1.ProbeRequest{
		"type": {Type: "none"}, "parameters": request(`{"x":1}`), "target": {Type: "echo", Timeout: durationpb.New(1), Target: &checkv1.Target{Address: "localhost"}},
		"timeout": {Type: "echo", Target: &checkv1.Target{Address: "::1"}},
	} {
		if _, err := c.Check.Probe(within(t), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("bad %s: %v, want InvalidArgument", name, err)
		}
	}
}

func TestConfigure(t *testing.T) {
	c, _ := serveEcho(t)
	beat := durationpb.New(time.Second)
	for name, r := range map[string]*pluginv1.ConfigureRequest{
		"no beat": {Name: "x"}, "parameters nobody reads": {Name: "x", BeatInterval: beat, ParametersJson: []byte(`{"a":1}`)},
	} {
		if _, err := c.Plugin.Configure(within(t), r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v, want InvalidArgument", name, err)
		}
	}
}

func TestServeTestRefuses(t *testing.T) {
	for name, p := range map[string]sdk.Plugin{
		"no name":   {Version: "1", Checkers: map[string]sdk.Checker{"echo": echo{}}},
		"nothing":   {Name: "x", Version: "1"},
		"nil":       {Name: "x", Version: "1", Checkers: map[string]sdk.Checker{"echo": nil}},
		"no type":   {Name: "x", Version: "1", Failover: &provider{}},
		"only type": {Name: "x", Version: "1", Checkers: map[string]sdk.Checker{"echo": echo{}}, ForwarderType: "y"},
	} {
		if _, _, err := sdk.ServeTest(t.Context(), p, nil); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}

var errConfigured = errors.New("no ip_vs module: modprobe ip_vs")
