package f5

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// requests are how many were sent that a path has in it, of those after the first n.
func (s *scene) requests(after int, part string) (count int) {
	for _, r := range s.units[0].Requests()[after:] {
		if strings.Contains(r.Path, part) {
			count++
		}
	}
	return count
}

// TestSameAgain: what changes on the directors alone is no reason to ask the BIG-IP.
func TestSameAgain(t *testing.T) {
	s := single(t, map[string]any{"drift_interval": "1h"})
	s.done(web(1, 3))
	before := len(s.units[0].Requests())
	for range 20 {
		s.done(web(1, 3))
	}
	if n := len(s.units[0].Requests()) - before; n != 0 {
		t.Errorf("%d requests for the same again", n)
	}
	v := web(1, 3)
	v.RealServers[2].Weight = 0
	if n := s.done(v); n != 1 {
		t.Errorf("%d commands for another weight", n)
	}
	now := s.f.now
	s.f.now = func() time.Time { return now().Add(sameAgain + time.Second) }
	before = len(s.units[0].Requests())
	s.done(v)
	if len(s.units[0].Requests()) == before {
		t.Error("nobody looks any more")
	}
}

// TestIdleLoad: counters are read, and not each time all that is there.
func TestIdleLoad(t *testing.T) {
	s := single(t, map[string]any{"drift_interval": "1h", "stats_interval": "100ms"})
	s.done(web(1, 3), web(2, 3))
	s.watch()
	wait := func(part string, after, want int) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); s.requests(after, part) < want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d requests of %s, want %d", s.requests(after, part), part, want)
			}
		}
	}
	wait("/virtual/stats", 0, 2)
	idle := len(s.units[0].Requests())
	wait("/virtual/stats", idle, 5)
	for _, part := range []string{"/ltm/node", "/ltm/virtual-address", "/ltm/persistence", "/ltm/profile"} {
		if n := s.requests(idle, part); n != 0 {
			t.Errorf("%d requests of %s while nothing happened", n, part)
		}
	}
	// What was changed is read again.
	v := web(1, 3)
	v.RealServers[0].Offline = true
	s.done(v, web(2, 3))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		offline := 0
		for _, v := range s.f.observed().GetVirtualServers() {
			for _, r := range v.GetRealServers() {
				if r.GetOffline() {
					offline++
				}
			}
		}
		if offline == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("status does not show what was changed")
		}
	}
}

// TestWrongPassword: a device locks out who tries too often.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := single(t, map[string]any{"drift_interval": "30s"})
	parameters := s.parameters(s.units[0].CA())
	if err := os.WriteFile(filepath.Join(s.dir, "credentials"), []byte(user+"\nwrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.f.Configure(t.Context(), sdk.Settings{Parameters: parameters, RuntimeDir: s.dir, BeatInterval: time.Second}); err != nil {
		t.Fatal(err)
	}
	s.watch()
	if r := s.apply(web(1, 1)); len(r.GetErrors()) != 1 {
		t.Errorf("errors are %v", r.GetErrors())
	}
	time.Sleep(5 * time.Second)
	if n := s.requests(0, "/authn/login"); n < 2 || n > 12 {
		t.Errorf("%d logins in 5 s", n)
	}
}

// TestSaveOfAnother: what a process that was killed has written the next one has saved.
func TestSaveOfAnother(t *testing.T) {
	s := single(t, nil)
	s.done(web(1, 1))
	if n := s.requests(0, "/sys/config"); n != 0 {
		t.Fatalf("%d saves before anybody is watching", n)
	}
	s.start(s.units[0].CA())
	s.watch()
	if n := s.done(web(1, 1)); n != 0 {
		t.Errorf("%d changes", n)
	}
	for end := time.Now().Add(30 * time.Second); s.requests(0, "/sys/config") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing was saved")
		}
	}
	for end := time.Now().Add(30 * time.Second); marked(markerIn(s.dir)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the marker stays")
		}
	}
}

// TestStopWhileHung: a BIG-IP that does not answer does not keep a director from stopping.
func TestStopWhileHung(t *testing.T) {
	t.Parallel()
	s := single(t, map[string]any{"request_timeout": "1m"})
	s.done()
	hung := s.units[0].Fault(bigip.Fault{Kind: bigip.Hang, Times: 3})
	applied := make(chan error, 1)
	go func() {
		_, err := s.f.Apply(context.Background(), &forwardv1.ApplyRequest{Generation: 100, VirtualServers: []*forwardv1.VirtualServer{web(1, 1)}})
		applied <- err
	}()
	for end := time.Now().Add(30 * time.Second); hung.Hits() == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_ = s.f.Stop(ctx, pluginv1.StopMode_STOP_MODE_LEAVE)
	if took := time.Since(start); took > stopGrace+closeTime+3*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if err := <-applied; err != nil {
		t.Errorf("the Apply that was ended: %v", err)
	}
}

// TestSaidOnce: one reason is one error.
func TestSaidOnce(t *testing.T) {
	f := New().(*Forwarder)
	f.errors, f.alarm = []*forwardv1.ObjectError{{Message: "gone"}}, "gone"
	if got := f.problems(); len(got) != 1 {
		t.Errorf("errors are %v", got)
	}
	f.alarm = "not in sync"
	if got := f.problems(); len(got) != 2 {
		t.Errorf("errors are %v", got)
	}
}

func TestFileWarnings(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct{ more, want string }{
		"good":           {`"credentials_file":"` + file("good", "u\nsecret\n", 0o600) + `"`, ""},
		"missing":        {`"credentials_file":"` + dir + `/none"`, "/credentials_file read the credentials: open " + dir + "/none: no such file or directory"},
		"one line":       {`"credentials_file":"` + file("one", "secret\n", 0o600) + `"`, "/credentials_file credentials_file " + dir + "/one has not two lines, the user and the password"},
		"everybody's":    {`"username":"u","password_file":"` + file("open", "secret\n", 0o644) + `"`, "/password_file everybody on this machine can get at " + dir + "/open: chmod 600 it"},
		"no certificate": {`"username":"u","password_env":"X","ca":"` + file("ca", "secret", 0o644) + `"`, "/ca ca " + dir + "/ca has no certificate in PEM"},
	} {
		f := New().(*Forwarder)
		got := ""
		for _, p := range f.ValidateSettings([]byte(`{"addresses":["192.0.2.1"],"partition":"lab",` + test.more + `}`)) {
			got += p.Path + " " + p.Message
			if !p.Warning || strings.Contains(p.Message, "secret") {
				t.Errorf("%s: %+v", name, p)
			}
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
