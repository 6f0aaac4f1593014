package bigip_test

import (
	"testing"

	"github.com/poise-lb/poise/e2e/bigip"
)

func TestSmoke(t *testing.T) {
	u := bigip.New(bigip.Options{Partitions: []string{"lab"}})
	u.AddForeign("lab", "Common")
	before := u.Foreign()
	c := dial(t, u)
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab", "members": []any{
		object{"name": "10.0.0.1:80", "ratio": 2}, object{"name": "2001:db8::1.80"},
	}})
	c.ok("POST", "tm/ltm/virtual", object{"name": "web", "partition": "lab", "destination": "192.0.2.1:80", "pool": "web", "ipProtocol": 6, "profiles": []any{"fastL4"}})
	t.Log(c.ok("GET", "tm/ltm/virtual/~lab~web?expandSubcollections=true", nil))
	t.Log(c.ok("GET", "tm/ltm/pool/~lab~web?expandSubcollections=true", nil))
	t.Log(c.ok("GET", "tm/ltm/pool/~lab~web/members/~lab~2001:db8::1.80/stats", nil))
	if string(before) != string(u.Foreign()) {
		t.Error("foreign objects changed")
	}
}
