package bigip_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

func TestForeign(t *testing.T) {
	c := lab(t)
	c.unit.AddForeign("lab", "Common", "third")
	before := string(c.unit.Foreign())
	for _, partition := range []string{"lab", "Common", "third"} {
		for _, kind := range []string{"monitor/tcp", "profile/fastl4", "persistence/source-addr", "node", "snatpool", "snat-translation", "data-group/internal", "pool", "pool/members", "virtual", "virtual-address"} {
			if !strings.Contains(before, fmt.Sprintf("\"kind\": \"ltm/%s\",\n", kind)) || !strings.Contains(before, "\"/"+partition+"/foreign-pool\"") {
				t.Errorf("no %s in %s", kind, partition)
			}
		}
	}
	furnish(c)
	if string(c.unit.Foreign()) != before {
		t.Error("foreign objects changed by others")
	}
	for _, touch := range [][3]any{
		{"PATCH", "tm/ltm/pool/~lab~foreign-pool", object{"description": "mine"}},
		{"PATCH", "tm/ltm/pool/~Common~foreign-pool/members/~Common~foreign-node:8080", object{"ratio": 9}},
		{"DELETE", "tm/ltm/virtual/~third~foreign-virtual", nil},
		{"POST", "tm/ltm/pool/~Common~foreign-pool/members", object{"name": "10.5.5.5:80"}},
	} {
		c.ok(touch[0].(string), touch[1].(string), touch[2])
		after := string(c.unit.Foreign())
		if after == before {
			t.Errorf("%v is not seen", touch)
		}
		before = after
	}
}

func TestAdmin(t *testing.T) {
	p, a, b := two(t, bigip.PairOptions{})
	admin := bigip.NewPairAdmin(p)
	do := func(method, path, body string) string {
		t.Helper()
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		if w.Code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Body.String()
	}
	if ca := do("GET", "/ca", ""); ca != string(p.CA()) {
		t.Errorf("CA %s", ca)
	}
	do("POST", "/faults?unit=b", `{"kind": "html-503", "times": 1}`)
	a.ok("GET", "tm/sys/ready", nil)
	if status, _ := b.send("GET", "tm/sys/ready", nil); status != 503 {
		t.Errorf("%d", status)
	}
	now := p.Clock().Now()
	do("POST", "/clock", `{"advance": "20m"}`)
	if moved := p.Clock().Now().Sub(now); moved < 20*time.Minute {
		t.Errorf("moved by %s", moved)
	}
	do("POST", "/failover", `{"active": ["b"]}`)
	if p.A.FailoverState() != bigip.Standby || p.B.FailoverState() != bigip.Active {
		t.Error("not switched")
	}
	do("POST", "/foreign", `{"partitions": ["lab"]}`)
	do("POST", "/apply?unit=a", `{"method": "POST", "path": "ltm/pool", "body": {"name": "web", "partition": "lab"}}`)
	if dump := do("GET", "/dump?unit=a", ""); !strings.Contains(dump, `"/lab/web"`) {
		t.Errorf("dump %s", dump)
	}
	if states := do("GET", "/sync", ""); !strings.Contains(states, `"changesPending": true`) {
		t.Errorf("states %s", states)
	}
	if log := do("GET", "/requests?unit=b", ""); !strings.Contains(log, "html-503") {
		t.Errorf("log %s", log)
	}
	do("DELETE", "/requests", "")
	if n := len(p.B.Requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	do("POST", "/restart", `{"reboot": true}`)
	if dump := do("GET", "/dump?unit=a", ""); strings.Contains(dump, `"/lab/web"`) {
		t.Error("an unsaved pool outlived a reboot")
	}
	for _, bad := range []string{`{"kind": "fire"}`, `{"kind": "hang", "often": true}`, `{}`} {
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, httptest.NewRequest("POST", "/faults", strings.NewReader(bad)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
}

func TestLog(t *testing.T) {
	c := lab(t)
	furnish(c)
	c.unit.ClearRequests()
	c.ok("GET", member+"?ver=16.1.2", nil)
	c.ok("PATCH", member, object{"ratio": 2})
	c.ok("POST", "tm/ltm/pool", object{"name": "/lab/second"})
	var got []string
	for _, r := range c.unit.Requests() {
		got = append(got, fmt.Sprintf("%s %s %s %s %d %v", r.Method, r.Kind, r.Object, r.User, r.Status, r.Write()))
	}
	want := []string{
		"GET ltm/pool/members /lab/web /lab/10.0.0.1:80 admin 200 false",
		"PATCH ltm/pool/members /lab/web /lab/10.0.0.1:80 admin 200 true",
		"POST ltm/pool /lab/second admin 200 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has %q, want %q", got, want)
	}
}
