package icontrol_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

// simulator is poise-bigip-sim as a process: a plugin's tests import nothing of e2e.
type simulator struct {
	units   []string
	control string
	ca      *x509.CertPool
}

func startSimulator(t *testing.T, arguments ...string) *simulator {
	t.Helper()
	folder := t.TempDir()
	program := filepath.Join(folder, "poise-bigip-sim")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/poise-lb/poise/e2e/cmd/poise-bigip-sim").CombinedOutput(); err != nil {
		t.Fatalf("build the simulator: %v\n%s", err, out)
	}
	ca := filepath.Join(folder, "ca.pem")
	command := exec.Command(program, append([]string{"-listen", "127.0.0.1:0", "-peer", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-ca", ca}, arguments...)...)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	s := &simulator{}
	for lines := bufio.NewScanner(out); s.control == "" && lines.Scan(); {
		name, address, _ := strings.Cut(lines.Text(), " ")
		if name == "control" {
			s.control = address
		} else {
			s.units = append(s.units, strings.TrimPrefix(address, "https://"))
		}
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	s.ca = x509.NewCertPool()
	if !s.ca.AppendCertsFromPEM(pem) || s.control == "" {
		t.Fatalf("the simulator did not start: %+v", s)
	}
	return s
}

func (s *simulator) client(t *testing.T, unit int) *icontrol.Client {
	t.Helper()
	c, err := icontrol.New(icontrol.Options{
		Address: s.units[unit], Username: "poise", Password: "pw-of-poise", RootCAs: s.ca, RequestTimeout: 3 * time.Second,
		Retry: icontrol.Retry{Attempts: 5, Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}, Allowed: icontrol.Within("lab"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// admin uses the control surface.
func (s *simulator) admin(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(method, s.control+path, bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s %v", method, path, response.Status, answer, err)
	}
	return answer
}

func (s *simulator) fault(t *testing.T, f map[string]any) {
	t.Helper()
	s.admin(t, http.MethodDelete, "/faults", nil)
	s.admin(t, http.MethodPost, "/faults?unit=a", f)
}

// poolWith is a whole pool, members in the same request.
func poolWith(name string, members int) map[string]any {
	list := []map[string]any{}
	for i := range members {
		address := fmt.Sprintf("10.1.%d.%d", i/250, i%250+1)
		list = append(list, map[string]any{"name": icontrol.JoinPort(address, 80), "address": address, "session": "user-enabled", "state": "user-up"})
	}
	return map[string]any{"name": name, "partition": "lab", "members": list}
}

func transact(ctx context.Context, c *icontrol.Client, commands ...icontrol.Command) error {
	tx, err := c.Begin(ctx)
	if err != nil {
		return err
	}
	for _, command := range commands {
		if err := tx.Add(ctx, command); err != nil {
			return errors.Join(err, tx.Abandon(ctx))
		}
	}
	return errors.Join(tx.Commit(ctx), tx.Abandon(ctx))
}

func TestSimulator(t *testing.T) {
	s := startSimulator(t, "-pair", "-user", "poise:pw-of-poise", "-partition", "lab", "-foreign", "lab,Common", "-sync-delay", "50ms")
	c := s.client(t, 0)
	foreign := s.admin(t, http.MethodGet, "/foreign?unit=a", nil)
	t.Run("device", func(t *testing.T) { s.device(t, c) })
	t.Run("pair", func(t *testing.T) { s.pair(t, c) })
	t.Run("lists", func(t *testing.T) { s.lists(t, c) })
	t.Run("faults", func(t *testing.T) { s.faults(t, c) })
	t.Run("commits", func(t *testing.T) { s.commits(t, c) })
	t.Run("tokens", func(t *testing.T) { s.tokens(t, c) })

	s.admin(t, http.MethodDelete, "/faults", nil)
	if now := s.admin(t, http.MethodGet, "/foreign?unit=a", nil); !bytes.Equal(now, foreign) {
		t.Errorf("foreign objects were\n%s\nand are\n%s", foreign, now)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	var log []struct {
		Method, Path, Query, Object string
		Status                      int
	}
	if err := json.Unmarshal(s.admin(t, http.MethodGet, "/requests?unit=a", nil), &log); err != nil || len(log) < 20 {
		t.Fatalf("%d requests, %v", len(log), err)
	}
	for _, r := range log {
		if r.Method == http.MethodPut || strings.HasPrefix(r.Path, "/mgmt/tm/ltm/") && r.Object != "" && !strings.HasPrefix(r.Object, "/lab/") {
			t.Errorf("sent: %+v", r)
		}
	}
	if last := log[len(log)-1]; last.Method != http.MethodDelete || !strings.HasPrefix(last.Path, "/mgmt/shared/authz/tokens/") || last.Status != http.StatusOK {
		t.Errorf("the last request is %+v, not the end of the token", last)
	}
}

func (s *simulator) device(t *testing.T, c *icontrol.Client) {
	if version, err := c.Version(t.Context()); err != nil || !strings.Contains(version, ".") {
		t.Errorf("version %q, %v", version, err)
	}
	if ready, err := c.Ready(t.Context()); err != nil || !ready.All() {
		t.Errorf("ready: %+v, %v", ready, err)
	}
	if state, err := c.FailoverState(t.Context()); err != nil || state != icontrol.Active {
		t.Errorf("failover state %q, %v", state, err)
	}
	for unit, want := range []string{icontrol.Active, icontrol.Standby} {
		of := c
		if unit == 1 {
			of = s.client(t, unit)
			defer of.Close(t.Context())
		}
		devices, err := of.Devices(t.Context())
		if err != nil || len(devices) != 2 {
			t.Fatalf("devices: %+v, %v", devices, err)
		}
		for _, d := range devices {
			if d.Self && d.FailoverState != want {
				t.Errorf("unit %d: %+v", unit, d)
			}
		}
	}
	groups, err := c.DeviceGroups(t.Context())
	if err != nil || len(groups) != 1 || !groups[0].SyncFailover || groups[0].AutoSync || len(groups[0].Devices) != 2 {
		t.Errorf("groups: %+v, %v", groups, err)
	}
}

func (s *simulator) pair(t *testing.T, c *icontrol.Client) {
	ctx := t.Context()
	if status, err := c.SyncStatus(ctx); err != nil || !status.InSync() || status.Standalone() {
		t.Errorf("at first: %+v, %v", status, err)
	}
	if err := c.Post(ctx, pools, poolWith("web", 300), nil); err != nil {
		t.Fatal(err)
	}
	if status, err := c.SyncStatus(ctx); err != nil || status.InSync() || status.Status != "Changes Pending" {
		t.Errorf("after a change: %+v, %v", status, err)
	}
	groups, err := c.DeviceGroups(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.ConfigSync(ctx, "no-such-group"); err == nil || errors.Is(err, icontrol.ErrTransient) {
		t.Errorf("config-sync to a group that is not there: %v", err)
	}
	if err := c.ConfigSync(ctx, groups[0].Name); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in sync", func() bool {
		status, err := c.SyncStatus(ctx)
		return err == nil && status.InSync()
	})
	peer := s.client(t, 1)
	defer peer.Close(ctx)
	if err := peer.Get(ctx, named("web"), nil, nil); err != nil {
		t.Errorf("the other unit: %v", err)
	}
	if err := c.Save(ctx); err != nil {
		t.Error(err)
	}
}

func (s *simulator) lists(t *testing.T, c *icontrol.Client) {
	members := named("web").Sub("members")
	for _, page := range []int{0, 1000, 70, 300} {
		n := 0
		err := c.List(t.Context(), members, nil, page, func(item json.RawMessage) error {
			var in struct{ SelfLink, FullPath, Address string }
			if err := json.Unmarshal(item, &in); err != nil {
				return err
			}
			n++
			path, err := icontrol.ParsePath(in.SelfLink)
			if err != nil {
				return err
			}
			if name, ok := path.Name(); !ok || name.String() != in.FullPath || path != members.Object(name) {
				return fmt.Errorf("%s is %v, %v", in.SelfLink, path, name)
			}
			return nil
		})
		if err != nil || n != 300 {
			t.Errorf("pages of %d: %d members, %v", page, n, err)
		}
	}
	filtered := 0
	err := c.List(t.Context(), pools, url.Values{"$filter": {"partition eq lab"}, "expandSubcollections": {"true"}}, 0, func(item json.RawMessage) error {
		filtered++
		if !bytes.Contains(item, []byte(`"partition":"lab"`)) {
			return fmt.Errorf("not of the partition: %s", item)
		}
		return nil
	})
	if err != nil || filtered < 2 {
		t.Errorf("%d pools, %v", filtered, err)
	}
	if err := c.List(t.Context(), pools, url.Values{"$filter": {"partition eq none"}}, 0, func(json.RawMessage) error { return nil }); !errors.Is(err, icontrol.ErrNoPartition) {
		t.Errorf("a partition that is not there: %v", err)
	}
	if err := c.Get(t.Context(), named("none"), nil, nil); !errors.Is(err, icontrol.ErrNotFound) {
		t.Errorf("a pool that is not there: %v", err)
	}
	if err := c.Post(t.Context(), pools, poolWith("web", 0), nil); !errors.Is(err, icontrol.ErrConflict) {
		t.Errorf("a pool that is there: %v", err)
	}
}

// faults are those that pass by themselves: nobody notices.
func (s *simulator) faults(t *testing.T, c *icontrol.Client) {
	for _, kind := range []string{"html-503", "json-503", "mcpd-lost", "not-registered", "unauthorized", "unauthorized-503", "reset", "slow", "timeout-500", "reset-after"} {
		for _, test := range []struct {
			method string
			do     func() error
		}{
			{"GET", func() error { return c.Get(t.Context(), named("web"), nil, nil) }},
			{"PATCH", func() error {
				return c.Patch(t.Context(), named("web"), map[string]any{"description": kind}, nil)
			}},
			{"DELETE", func() error {
				return c.Delete(t.Context(), named("gone"))
			}},
		} {
			s.admin(t, http.MethodDelete, "/faults", nil)
			if test.method == "DELETE" {
				if err := c.Post(t.Context(), pools, poolWith("gone", 1), nil); err != nil {
					t.Fatal(err)
				}
			}
			s.fault(t, map[string]any{"kind": kind, "times": 2, "path": "/mgmt/tm/ltm/pool", "delay": "50ms"})
			if err := test.do(); err != nil {
				t.Errorf("%s, %s: %v", kind, test.method, err)
			}
		}
		if err := c.Get(t.Context(), named("gone"), nil, nil); !errors.Is(err, icontrol.ErrNotFound) {
			t.Errorf("%s: the deleted pool: %v", kind, err)
		}
	}
	s.fault(t, map[string]any{"kind": "hang", "times": 1, "path": "/mgmt/tm/ltm/pool"})
	if err := c.Get(t.Context(), named("web"), nil, nil); err != nil {
		t.Errorf("hang: %v", err)
	}
}

func (s *simulator) commits(t *testing.T, c *icontrol.Client) {
	there := func() bool {
		err := c.Get(t.Context(), named("tx"), nil, nil)
		if err != nil && !errors.Is(err, icontrol.ErrNotFound) {
			t.Error(err)
		}
		return err == nil
	}
	commands := []icontrol.Command{
		{Verb: http.MethodPost, Path: pools, Body: poolWith("tx", 3)},
		{Verb: http.MethodPatch, Path: named("tx"), Body: map[string]any{"description": "x"}},
	}
	const anyCommit = "/mgmt/tm/transaction/"
	for _, test := range []struct {
		fault         map[string]any
		ok, unknown   bool
		applied       bool
		wantTransient bool
	}{
		{fault: nil, ok: true, applied: true},
		{fault: map[string]any{"kind": "reset-after"}, unknown: true, applied: true, wantTransient: true},
		{fault: map[string]any{"kind": "reset", "method": "PATCH", "path": anyCommit, "times": 1}, unknown: true, wantTransient: true},
		{fault: map[string]any{"kind": "timeout-500", "method": "PATCH", "path": anyCommit, "times": 1}, unknown: true, applied: true, wantTransient: true},
		{fault: map[string]any{"kind": "html-503", "method": "PATCH", "path": anyCommit, "times": 1}, unknown: true, wantTransient: true},
		{fault: map[string]any{"kind": "refuse-commit"}},
		{fault: map[string]any{"kind": "refuse-commit", "command": 1}},
		{fault: map[string]any{"kind": "fail-commit"}},
		{fault: map[string]any{"kind": "json-503", "method": "PATCH", "path": anyCommit, "times": 2}, ok: true, applied: true},
		{fault: map[string]any{"kind": "unauthorized", "method": "PATCH", "path": anyCommit, "times": 1}, ok: true, applied: true},
		{fault: map[string]any{"kind": "not-registered", "method": "PATCH", "path": anyCommit, "times": 1}, ok: true, applied: true},
		{fault: map[string]any{"kind": "unauthorized-503", "times": 2}, ok: true, applied: true},
	} {
		s.admin(t, http.MethodDelete, "/faults", nil)
		if err := c.Delete(t.Context(), named("tx")); err != nil && !errors.Is(err, icontrol.ErrNotFound) {
			t.Fatal(err)
		}
		if test.fault != nil {
			s.fault(t, test.fault)
		}
		err := transact(t.Context(), c, commands...)
		s.admin(t, http.MethodDelete, "/faults", nil)
		if (err == nil) != test.ok || errors.Is(err, icontrol.ErrUnknownOutcome) != test.unknown || errors.Is(err, icontrol.ErrTransient) != test.wantTransient {
			t.Errorf("%v: %v", test.fault, err)
		}
		if got := there(); got != test.applied {
			t.Errorf("%v: done: %v", test.fault, got)
		}
	}
}

// tokens that end, or that a restarted device has forgotten.
func (s *simulator) tokens(t *testing.T, c *icontrol.Client) {
	for range 3 {
		s.admin(t, http.MethodPost, "/clock", map[string]any{"advance": "21m"})
		if err := c.Get(t.Context(), named("web"), nil, nil); err != nil {
			t.Errorf("after the end of the token: %v", err)
		}
		s.admin(t, http.MethodPost, "/restart?unit=a", map[string]any{})
		if err := c.Patch(t.Context(), named("web"), map[string]any{"description": "restarted"}, nil); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	}
}
