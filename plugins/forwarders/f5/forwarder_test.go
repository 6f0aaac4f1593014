package f5

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/e2e/bigip"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// scene is a simulated BIG-IP, or a pair, with objects of others, and a forwarder.
type scene struct {
	t     *testing.T
	units []*bigip.Unit
	dir   string
	f     *Forwarder
	// generation of the last request.
	generation uint64
	more       map[string]any
	foreign    map[*bigip.Unit][]byte
}

const user, password = "poise", "S3cret-of-the-lab"

func options() bigip.Options {
	return bigip.Options{Users: map[string]string{"admin": "admin", user: password}, Partitions: []string{"lab", "other"}}
}

// single is one unit.
func single(t *testing.T, more map[string]any) *scene {
	t.Helper()
	u := bigip.New(options())
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	u.AddForeign("lab", "Common", "other")
	s := &scene{t: t, units: []*bigip.Unit{u}, dir: t.TempDir(), more: more, foreign: map[*bigip.Unit][]byte{u: u.Foreign()}}
	s.start(u.CA())
	return s
}

func (s *scene) parameters(ca []byte) json.RawMessage {
	s.t.Helper()
	write := func(name string, text []byte) string {
		path := filepath.Join(s.dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			s.t.Fatal(err)
		}
		return path
	}
	p := map[string]any{
		"partition": "lab", "ca": write("ca.pem", ca), "credentials_file": write("credentials", []byte(user+"\n"+password+"\n")),
		"server_name": "localhost", "drift_interval": "300ms", "stats_interval": "300ms", "save_interval": "1ms",
	}
	var addresses []string
	for _, u := range s.units {
		addresses = append(addresses, u.Addr())
	}
	p["addresses"] = addresses
	for k, v := range s.more {
		p[k] = v
	}
	out, err := json.Marshal(p)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *scene) start(ca []byte) {
	s.t.Helper()
	s.f = New().(*Forwarder)
	err := s.f.Configure(context.Background(), sdk.Settings{Name: "f5-lab", Parameters: s.parameters(ca), RuntimeDir: s.dir, BeatInterval: 100 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.f.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE)
		for _, u := range s.units {
			if got, was := u.Foreign(), s.foreign[u]; !bytes.Equal(got, was) {
				s.t.Errorf("objects of others have changed on %s: %s", u.Addr(), firstDifference(got, was))
			}
		}
	})
}

// apply applies virtual servers.
func (s *scene) apply(list ...*forwardv1.VirtualServer) *forwardv1.ApplyResponse {
	s.t.Helper()
	s.generation++
	r, err := s.f.Apply(context.Background(), &forwardv1.ApplyRequest{
		Generation: s.generation, VirtualServers: list, ReconcileInterval: durationpb.New(time.Second),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// done applies virtual servers and has it that there is no error.
func (s *scene) done(list ...*forwardv1.VirtualServer) uint32 {
	s.t.Helper()
	r := s.apply(list...)
	for _, e := range r.GetErrors() {
		s.t.Fatalf("apply: %s", e)
	}
	return r.GetOperations()
}

// TestNeverRead: an appliance that has not answered is not taken for one that has nothing.
func TestNeverRead(t *testing.T) {
	t.Parallel()
	s := single(t, map[string]any{"request_timeout": "300ms"})
	fault := s.units[0].Fault(bigip.Fault{Kind: bigip.Hang})
	observe := func() *forwardv1.ObserveResponse {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		o, err := s.f.Observe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := observe(); o.GetPlatform() != "" || len(o.GetVirtualServers()) > 0 {
		t.Errorf("before it has answered: %v", o)
	}
	fault.Clear()
	if o := observe(); !strings.HasPrefix(o.GetPlatform(), "BIG-IP ") || len(o.GetVirtualServers()) == 0 {
		t.Errorf("when it has answered: %v", o)
	}
}

// web is a virtual server with so many members.
func web(n int, members int) *forwardv1.VirtualServer {
	v := &forwardv1.VirtualServer{
		Key:       &forwardv1.ServiceKey{Address: fmt.Sprintf("192.0.2.%d", n), Port: 80, Protocol: forwardv1.Protocol_PROTOCOL_TCP, Family: forwardv1.Family_FAMILY_IPV4},
		Scheduler: "rr",
	}
	for i := range members {
		v.RealServers = append(v.RealServers, &forwardv1.RealServer{
			Address: fmt.Sprintf("10.%d.%d.%d", n, i/250, i%250+1), Port: 80, Weight: 1, Method: forwardv1.Method_METHOD_NAT,
		})
	}
	return v
}

// members are state and session of a pool's members by their names.
func members(u *bigip.Unit, pool string) (map[string]string, error) {
	got, err := u.Apply("GET", "ltm/pool/~lab~"+pool+"?expandSubcollections=true", nil)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, item := range got["membersReference"].(map[string]any)["items"].([]any) {
		m := item.(map[string]any)
		out[m["name"].(string)] = fmt.Sprint(m["session"], "/", m["state"])
	}
	return out, nil
}

// pools are the names of the pools of the partition that are not foreign.
func pools(u *bigip.Unit) (out []string) {
	got := u.Must("GET", "ltm/pool?$filter=partition+eq+lab", nil)
	items, _ := got["items"].([]any)
	for _, item := range items {
		m := item.(map[string]any)
		if name := m["name"].(string); strings.HasPrefix(name, "poise") || strings.HasPrefix(name, "vs") || !strings.Contains(name, "foreign") {
			out = append(out, name)
		}
	}
	return out
}

func TestLife(t *testing.T) {
	s := single(t, nil)
	u := s.units[0]
	v := web(1, 3)
	if n := s.done(v); n == 0 {
		t.Error("nothing was made")
	}
	if n := s.done(v); n != 0 {
		t.Errorf("%d changes where there was none to make", n)
	}
	pool := pools(u)
	if len(pool) != 1 {
		t.Fatalf("pools are %q", pool)
	}
	v.RealServers[1].Offline = true
	if n := s.done(v); n != 1 {
		t.Errorf("a real server went down: %d commands", n)
	}
	got, err := members(u, pool[0])
	if err != nil {
		t.Fatal(err)
	}
	if got["10.1.0.2:80"] != "user-disabled/user-down" || got["10.1.0.1:80"] != "user-enabled/unchecked" {
		t.Errorf("members are %v", got)
	}
	v.RealServers[1].Offline, v.RealServers[0].Weight = false, 0
	s.done(v)
	if got, err = members(u, pool[0]); err != nil {
		t.Fatal(err)
	}
	if got["10.1.0.1:80"] != "user-disabled/unchecked" || got["10.1.0.2:80"] != "user-enabled/unchecked" {
		t.Errorf("members are %v", got)
	}
	s.done()
	if left := pools(u); len(left) > 0 {
		t.Errorf("pools are left: %q", left)
	}
	for _, r := range u.Requests() {
		if r.Method == "PUT" {
			t.Errorf("a PUT: %+v", r)
		}
	}
}

func clone(v *forwardv1.VirtualServer) *forwardv1.VirtualServer { return proto.CloneOf(v) }

// firstDifference is the first line that differs.
func firstDifference(got, want []byte) string {
	a, b := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is %q, was %q", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, were %d", len(a), len(b))
}
