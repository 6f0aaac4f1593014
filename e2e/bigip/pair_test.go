package bigip_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

func two(t *testing.T, o bigip.PairOptions) (*bigip.Pair, *client, *client) {
	o.Partitions = []string{"lab"}
	p := bigip.NewPair(o)
	return p, dial(t, p.A), dial(t, p.B)
}

// status is the words, the colour and the details of the sync status.
func (c *client) status() (status, color, details string) {
	c.Helper()
	entries := at(c, c.ok("GET", "tm/cm/sync-status", nil), "entries", "https://localhost/mgmt/tm/cm/sync-status/0", "nestedStats", "entries").(object)
	lines := at(c, entries, "https://localhost/mgmt/tm/cm/syncStatus/0/details", "nestedStats", "entries").(object)
	for i := range len(lines) {
		line := at(c, lines, fmt.Sprintf("https://localhost/mgmt/tm/cm/syncStatus/0/details/%d", i), "nestedStats", "entries", "details", "description")
		details += line.(string) + "\n"
	}
	return at(c, entries, "status", "description").(string), at(c, entries, "color", "description").(string), details
}

func (c *client) wantStatus(status, color, words string) {
	c.Helper()
	s, col, details := c.status()
	if s != status || col != color || !strings.Contains(details, words) {
		c.Errorf("%s: %q %s\n%swant %q %s with %q", c.unit.Name(), s, col, details, status, color, words)
	}
}

func sync(direction string) object {
	return object{"command": "run", "utilCmdArgs": "config-sync " + direction + " failover-group"}
}

func TestSyncByHand(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{SyncDelay: 10 * time.Second})
	a.wantStatus("In Sync", "green", "")
	a.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	for _, c := range []*client{a, b} {
		c.wantStatus("Changes Pending", "yellow", " - Recommended action: Synchronize bigip-a.example.net to group failover-group")
	}
	b.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~web", nil)
	got := a.ok("POST", "tm/cm", sync("to-group"))
	if got["kind"] != "tm:cm:runstate" || got["command"] != "run" || got["utilCmdArgs"] != "config-sync to-group failover-group" {
		t.Errorf("answered %v", got)
	}
	b.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~web", nil)
	a.wantStatus("Not All Devices Synced", "yellow", "")
	p.Clock().Advance(10 * time.Second)
	b.ok("GET", "tm/ltm/pool/~lab~web", nil)
	a.wantStatus("In Sync", "green", "")
	if !p.InSync() || p.A.Pending() {
		t.Error("not in sync")
	}
	a.refused(400, "01070734:3: Configuration error: Device group (nobody) not found in device group sync", "POST", "tm/cm", object{"command": "run", "utilCmdArgs": "config-sync to-group nobody"})
	a.refused(400, "utilCmdArgs", "POST", "tm/cm", object{"command": "run", "utilCmdArgs": "reboot"})
}

// TestWrongUnit shows what happens to those who write to the standby unit.
func TestWrongUnit(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{})
	b.ok("POST", "tm/ltm/pool", object{"name": "standby", "partition": "lab"})
	a.wantStatus("Changes Pending", "yellow", "Synchronize bigip-b.example.net to group")
	if !p.B.Pending() || p.A.Pending() {
		t.Error("the wrong unit has changes")
	}
	a.ok("POST", "tm/ltm/pool", object{"name": "active", "partition": "lab"})
	a.wantStatus("Changes Pending", "red", "There is a possible change conflict between bigip-a.example.net and bigip-b.example.net.")
	a.ok("POST", "tm/cm", sync("to-group"))
	b.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~standby", nil)
	b.ok("GET", "tm/ltm/pool/~lab~active", nil)
}

func TestAutoSync(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{AutoSync: true, SaveOnAutoSync: true, SyncDelay: 5 * time.Second})
	a.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab", "members": []any{"10.0.0.1:80"}})
	a.wantStatus("Changes Pending", "yellow", "")
	p.Clock().Advance(5 * time.Second)
	if before, after := string(p.A.Dump()), string(b.unit.Dump()); strings.Count(before, "\n") != strings.Count(after, "\n") {
		t.Errorf("the units differ:\n%s\n%s", before, after)
	}
	b.ok("GET", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80", nil)
	if !p.B.Saved() {
		t.Error("was not saved")
	}
	// Of changes on both units one is lost.
	a.ok("POST", "tm/ltm/pool", object{"name": "a", "partition": "lab"})
	b.ok("POST", "tm/ltm/pool", object{"name": "b", "partition": "lab"})
	p.Clock().Advance(5 * time.Second)
	b.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~b", nil)
	a.ok("PATCH", "tm/cm/device-group/~Common~failover-group", object{"autoSync": "disabled"})
	p.Clock().Advance(5 * time.Second)
	a.wantStatus("Changes Pending", "yellow", "")
}

func TestInitialSync(t *testing.T) {
	_, a, b := two(t, bigip.PairOptions{Initial: true})
	a.wantStatus("Awaiting Initial Sync", "blue", "")
	b.refused(400, "is not allowed until a push has been done first", "POST", "tm/cm", sync("from-group"))
	a.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	a.ok("POST", "tm/cm", object{"command": "run", "utilCmdArgs": "config-sync force-full-load-push to-group failover-group"})
	a.wantStatus("In Sync", "green", "")
	a.ok("POST", "tm/ltm/pool", object{"name": "web2", "partition": "lab"})
	b.ok("POST", "tm/cm", sync("from-group"))
	b.ok("GET", "tm/ltm/pool/~lab~web2", nil)
}

func TestSyncAsTask(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{SyncDelay: time.Second})
	a.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	task := a.ok("POST", "tm/task/cm/config-sync", object{"command": "run", "options": []any{object{"to-group": "failover-group"}}})
	path := strings.TrimPrefix(strings.Split(task["selfLink"].(string), "?")[0], "https://localhost/mgmt/")
	if task["_taskState"] != "STARTED" {
		t.Errorf("begins as %v", task)
	}
	if status, body := a.send("PUT", path, object{"_taskState": "VALIDATING"}); status != 202 {
		t.Errorf("%d %v", status, body)
	}
	if got := a.ok("GET", path, nil); got["_taskState"] != "VALIDATING" {
		t.Errorf("goes on as %v", got)
	}
	p.Clock().Advance(time.Second)
	if got := a.ok("GET", path, nil); got["_taskState"] != "COMPLETED" {
		t.Errorf("ends as %v", got)
	}
	b.ok("GET", "tm/ltm/pool/~lab~web", nil)
}

func TestDisconnected(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{})
	p.Disconnect(true)
	a.wantStatus("Disconnected", "red", "")
	a.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	a.refused(400, "01070734:3:", "POST", "tm/cm", sync("to-group"))
	p.Disconnect(false)
	a.wantStatus("Changes Pending", "yellow", "Synchronize bigip-a.example.net")
	a.ok("POST", "tm/cm", sync("to-group"))
	b.ok("GET", "tm/ltm/pool/~lab~web", nil)
}

// states is what a unit says of itself and of its peer.
func (c *client) states() string {
	c.Helper()
	out := ""
	for _, item := range c.ok("GET", "tm/cm/device", nil)["items"].([]any) {
		d := item.(object)
		if d["selfDevice"] == "true" {
			out = d["failoverState"].(string) + out
		} else {
			out += " " + d["failoverState"].(string)
		}
	}
	words := at(c, c.ok("GET", "tm/cm/failover-status", nil), "entries", "https://localhost/mgmt/tm/cm/failover-status/0", "nestedStats", "entries", "status", "description").(string)
	if shared := c.ok("GET", "tm/shared/bigip-failover-state", nil)["failoverState"]; strings.ToLower(words) != shared || !strings.HasPrefix(out, shared.(string)) {
		c.Errorf("the device says %s, failover-status %s, bigip-failover-state %v", out, words, shared)
	}
	return out
}

func TestFailover(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{})
	check := func(wantA, wantB string) {
		t.Helper()
		if gotA, gotB := a.states(), b.states(); gotA != wantA || gotB != wantB {
			t.Errorf("%q and %q, want %q and %q", gotA, gotB, wantA, wantB)
		}
	}
	check("active standby", "standby active")
	p.SwitchOver()
	check("standby active", "active standby")
	p.SetActive(p.A, p.B)
	check("active active", "active active")
	p.SetActive()
	check("standby standby", "standby standby")
	p.SetActive(p.A)
	f := p.A.Fault(bigip.Fault{Kind: bigip.Failover, Method: "POST", Path: "/mgmt/tm/ltm/", After: 1, Times: 1})
	a.ok("POST", "tm/ltm/pool", object{"name": "one", "partition": "lab"})
	check("active standby", "standby active")
	a.ok("POST", "tm/ltm/pool", object{"name": "two", "partition": "lab"})
	check("standby active", "active standby")
	if f.Hits() != 1 {
		t.Errorf("%d hits", f.Hits())
	}
	a.ok("GET", "tm/ltm/pool/~lab~two", nil)
}

func TestForeignOnAPair(t *testing.T) {
	p, a, _ := two(t, bigip.PairOptions{})
	p.AddForeign("lab", "Common")
	before, peer := string(p.A.Foreign()), string(p.B.Foreign())
	if !p.InSync() {
		t.Error("not in sync")
	}
	a.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	a.ok("POST", "tm/cm", sync("to-group"))
	if !p.InSync() || string(p.A.Foreign()) != before || string(p.B.Foreign()) != peer {
		t.Error("foreign objects changed")
	}
	a.ok("POST", "tm/ltm/pool/~lab~foreign-pool/members", object{"name": "10.0.0.1:80"})
	if string(p.A.Foreign()) == before {
		t.Error("a member more in a foreign pool is not seen")
	}
}

func TestSave(t *testing.T) {
	c := lab(t)
	c.ok("POST", "tm/ltm/pool", object{"name": "kept", "partition": "lab"})
	if got := c.ok("POST", "tm/sys/config", object{"command": "save"}); got["kind"] != "tm:sys:config:savestate" || c.unit.Saves() != 1 || !c.unit.Saved() {
		t.Errorf("answered %v", got)
	}
	c.ok("POST", "tm/ltm/pool", object{"name": "lost", "partition": "lab"})
	if c.unit.Saved() {
		t.Error("a change is saved by itself")
	}
	c.unit.Reboot()
	c.ok("GET", "tm/ltm/pool/~lab~kept", nil)
	c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~lost", nil)
}
