package f5

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// watch runs the forwarder's Watch as the daemon does.
func (s *scene) watch() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- s.f.Watch(ctx, 100*time.Millisecond, func(*forwardv1.WatchResponse) error { return nil })
	}()
	s.t.Cleanup(func() { cancel(); <-done })
}

// eventually polls until a unit has what is wanted: the state of every member, and nothing
// else of ours.
func (s *scene) eventually(u *bigip.Unit, list ...*forwardv1.VirtualServer) {
	s.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		problem := s.differs(u, list)
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			s.f.mu.Lock()
			defer s.f.mu.Unlock()
			s.t.Fatalf("%s; the forwarder says %q", problem, s.f.told)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// differs says what a unit has not as it should be, as a forwarder of a fresh process sees
// it: without any memory.
func (s *scene) differs(u *bigip.Unit, list []*forwardv1.VirtualServer) string {
	s.t.Helper()
	names := pools(u)
	if len(names) != len(list) {
		return fmt.Sprintf("there are %d pools of ours, want %d", len(names), len(list))
	}
	enabled, offline := 0, 0
	for _, v := range list {
		for _, r := range v.GetRealServers() {
			if r.GetOffline() {
				offline++
			} else {
				enabled++
			}
		}
	}
	for _, name := range names {
		got, err := members(u, name)
		if err != nil {
			return err.Error() // gone since it was listed
		}
		for _, state := range got {
			switch state {
			case "user-disabled/user-down":
				offline--
			case "user-enabled/unchecked":
				enabled--
			default:
				return "a member is " + state
			}
		}
	}
	if enabled != 0 || offline != 0 {
		return fmt.Sprintf("%d enabled and %d offline members are missing", enabled, offline)
	}
	virtuals := u.Must("GET", "ltm/virtual?$filter=partition+eq+lab", nil)["items"]
	ours := 0
	if items, ok := virtuals.([]any); ok {
		for _, item := range items {
			if pool, ok := item.(map[string]any)["pool"].(string); ok && contains(names, pool) {
				ours++
			}
		}
	}
	if ours != len(list) {
		return fmt.Sprintf("%d virtual servers of ours, want %d", ours, len(list))
	}
	return ""
}

func contains(names []string, path string) bool {
	for _, n := range names {
		if path == "/lab/"+n {
			return true
		}
	}
	return false
}

// TestFaults has every fault in the middle of a change: once it is over the desired state is
// there, nothing is lost, doubled or half made.
func TestFaults(t *testing.T) {
	for _, x := range []bigip.Fault{
		{Kind: bigip.HTML503, Times: 12},
		{Kind: bigip.JSON503, Times: 12},
		{Kind: bigip.MCPDLost, Times: 5},
		{Kind: bigip.NotRegistered, Times: 8},
		{Kind: bigip.Unauthorized, Times: 6},
		{Kind: bigip.Unauthorized503, Times: 5},
		{Kind: bigip.Reset, Times: 5},
		{Kind: bigip.Hang, Times: 2},
		{Kind: bigip.Slow, Delay: 150 * time.Millisecond, Times: 60},
		{Kind: bigip.ResetAfter, Times: 2},
		{Kind: bigip.Timeout500, Times: 2},
		{Kind: bigip.RefuseCommit, Command: 3, Times: 2},
		{Kind: bigip.FailCommit, Times: 2},
	} {
		t.Run(fmt.Sprint(x.Kind), func(t *testing.T) {
			t.Parallel()
			s := single(t, map[string]any{"request_timeout": "500ms", "commit_timeout": "1s"})
			s.watch()
			u := s.units[0]
			before, after := []*forwardv1.VirtualServer{web(1, 3), web(2, 2)}, []*forwardv1.VirtualServer{web(2, 4), web(3, 2)}
			after[0].RealServers[0].Offline = true
			s.done(before...)
			s.eventually(u, before...)
			f := u.Fault(x)
			s.apply(after...)
			s.eventually(u, after...)
			if f.Hits() == 0 {
				t.Error("the fault never happened")
			}
			for _, r := range u.Requests() {
				if r.Method == "PUT" {
					t.Errorf("a PUT: %s", r.Path)
				}
			}
		})
	}
}

func TestTokenExpires(t *testing.T) {
	s := single(t, nil)
	u := s.units[0]
	s.done(web(1, 2))
	u.Clock().Advance(21 * time.Minute)
	v := web(1, 2)
	v.RealServers[0].Offline = true
	s.done(v)
	s.eventually(u, v)
	u.Restart()
	s.done(web(1, 3))
	s.eventually(u, web(1, 3))
	if n := u.Tokens(user); n > 2 {
		t.Errorf("%d tokens live", n)
	}
}

func TestDrift(t *testing.T) {
	s := single(t, nil)
	s.watch()
	u := s.units[0]
	v := web(1, 3)
	s.done(v)
	pool := pools(u)[0]
	u.Must("PATCH", "ltm/pool/~lab~"+pool+"/members/~lab~10.1.0.2:80", map[string]any{"session": "user-disabled", "state": "user-down"})
	s.eventually(u, v)
	u.Must("DELETE", "ltm/pool/~lab~"+pool+"/members/~lab~10.1.0.1:80", nil)
	s.eventually(u, v)
}
