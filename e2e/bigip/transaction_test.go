package bigip_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

func (c *client) begin() string {
	c.Helper()
	body := c.ok("POST", "tm/transaction", object{})
	return strconv.FormatFloat(body["transId"].(float64), 'f', -1, 64)
}

func (c *client) queue(id, method, path string, body any) object {
	c.Helper()
	sub := *c
	sub.transaction = id
	return sub.ok(method, path, body)
}

func (c *client) commit(id string) object {
	c.Helper()
	return c.ok("PATCH", "tm/transaction/"+id, object{"state": "VALIDATING"})
}

var commit = object{"state": "VALIDATING"}

func TestTransaction(t *testing.T) {
	c := lab(t)
	body := c.ok("POST", "tm/transaction", object{})
	id := strconv.FormatFloat(body["transId"].(float64), 'f', -1, 64)
	delete(body, "transId")
	want := map[string]any{
		"state": "STARTED", "timeoutSeconds": 120.0, "asyncExecution": false, "validateOnly": false, "executionTimeout": 300.0,
		"executionTime": 0.0, "failureReason": "", "kind": "tm:transactionstate", "selfLink": "https://localhost/mgmt/tm/transaction/" + id + "?ver=16.1.2",
	}
	if fmt.Sprint(body) != fmt.Sprint(want) {
		t.Errorf("begins with %v, want %v", body, want)
	}

	queued := c.queue(id, "POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	link := "https://localhost/mgmt/tm/transaction/" + id + "/commands/1?ver=16.1.2"
	want = map[string]any{
		"method": "POST", "uri": "https://localhost/mgmt/tm/ltm/pool", "body": map[string]any{"name": "web", "partition": "lab"},
		"evalOrder": 1.0, "commandId": 1.0, "kind": "tm:transaction:commandsstate", "selfLink": link,
	}
	if fmt.Sprint(queued) != fmt.Sprint(want) {
		t.Errorf("queued as %v, want %v", queued, want)
	}
	c.queue(id, "POST", "tm/ltm/pool/~lab~web/members", object{"name": "10.0.0.1:80"})
	c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~web", nil)
	if n := len(c.ok("GET", "tm/transaction/"+id+"/commands", nil)["items"].([]any)); n != 2 {
		t.Errorf("%d commands, want 2", n)
	}
	if got := c.commit(id); got["state"] != "COMPLETED" {
		t.Errorf("committed as %v", got)
	}
	c.ok("GET", "tm/ltm/pool/~lab~web/members/~lab~10.0.0.1:80", nil)
	c.refused(404, "is not found", "PATCH", "tm/transaction/"+id, commit)
	for _, r := range c.unit.Requests() {
		if r.Kind == "ltm/pool/members" && r.Method == "POST" && (r.Transaction != id || r.Object != "/lab/web /lab/10.0.0.1:80") {
			t.Errorf("the log has %+v", r)
		}
	}
}

func TestTransactionIsAllOrNothing(t *testing.T) {
	c := lab(t)
	c.ok("POST", "tm/ltm/pool", object{"name": "old", "partition": "lab", "members": []any{"10.0.0.1:80"}})
	before := string(c.unit.Dump())
	id := c.begin()
	c.queue(id, "POST", "tm/ltm/pool", object{"name": "new", "partition": "lab", "members": []any{"10.0.0.2:80"}})
	c.queue(id, "DELETE", "tm/ltm/pool/~lab~old", nil)
	c.queue(id, "POST", "tm/ltm/virtual", virtual("v", "192.0.2.1:80", object{"pool": "old"}))
	c.refused(400, "transaction failed:01020036:3: The requested Pool (/lab/old) was not found.", "PATCH", "tm/transaction/"+id, commit)
	if string(c.unit.Dump()) != before {
		t.Error("a refused transaction left something behind")
	}
	c.refused(404, "is not found", "GET", "tm/transaction/"+id, nil)
}

func TestTransactionWithTheHeaderOnItsCommit(t *testing.T) {
	c := lab(t)
	id := c.begin()
	c.queue(id, "POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	got := c.queue(id, "PATCH", "tm/transaction/"+id, commit)
	if got["kind"] != "tm:transaction:commandsstate" || got["commandId"] != 2.0 {
		t.Errorf("answered %v, want a queued command", got)
	}
	c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~web", nil)
	c.refused(400, "transaction failed:", "PATCH", "tm/transaction/"+id, commit)
}

func TestTransactionRest(t *testing.T) {
	c := lab(t)
	t.Run("empty", func(t *testing.T) {
		id := c.begin()
		body := c.refused(404, "there is no command to commit in the transaction.", "PATCH", "tm/transaction/"+id, commit)
		if body["apiError"] != 1.0 {
			t.Errorf("apiError %v, want 1", body["apiError"])
		}
		c.ok("DELETE", "tm/transaction/"+id, nil)
	})
	t.Run("no effect", func(t *testing.T) {
		c.ok("POST", "tm/ltm/pool", object{"name": "noop", "partition": "lab"})
		id := c.begin()
		c.queue(id, "PATCH", "tm/ltm/pool/~lab~noop", object{})
		c.refused(400, "transaction failed:one or more properties must be specified", "PATCH", "tm/transaction/"+id, commit)
	})
	t.Run("validate only", func(t *testing.T) {
		id := c.begin()
		c.queue(id, "POST", "tm/ltm/pool", object{"name": "dry", "partition": "lab"})
		got := c.ok("PATCH", "tm/transaction/"+id, object{"state": "VALIDATING", "validateOnly": true})
		if got["state"] != "COMPLETED" || got["validateOnly"] != true {
			t.Errorf("answered %v", got)
		}
		c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~dry", nil)
		id = c.begin()
		c.queue(id, "POST", "tm/ltm/pool", object{"name": "dry", "partition": "lab", "monitor": "none/such"})
		c.refused(400, "transaction failed:", "PATCH", "tm/transaction/"+id, object{"state": "VALIDATING", "validateOnly": true})
	})
	t.Run("order", func(t *testing.T) {
		id := c.begin()
		c.queue(id, "POST", "tm/ltm/virtual", virtual("ordered", "192.0.2.7:80", object{"pool": "ordered"}))
		c.queue(id, "POST", "tm/ltm/pool", object{"name": "ordered", "partition": "lab"})
		c.queue(id, "POST", "tm/ltm/pool", object{"name": "dropped", "partition": "lab"})
		if got := c.ok("PATCH", "tm/transaction/"+id+"/commands/2", object{"evalOrder": 1}); got["evalOrder"] != 1.0 {
			t.Errorf("moved to %v", got)
		}
		c.ok("DELETE", "tm/transaction/"+id+"/commands/3", nil)
		c.commit(id)
		c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~dropped", nil)
	})
	t.Run("unknown", func(t *testing.T) {
		sub := *c
		sub.transaction = "12345"
		sub.refused(404, "is not found", "POST", "tm/ltm/pool", object{"name": "x", "partition": "lab"})
	})
	t.Run("expires", func(t *testing.T) {
		id := c.begin()
		c.unit.Clock().Advance(119 * time.Second)
		c.queue(id, "POST", "tm/ltm/pool", object{"name": "late", "partition": "lab"})
		c.unit.Clock().Advance(119 * time.Second)
		c.ok("GET", "tm/transaction/"+id, nil)
		c.unit.Clock().Advance(120 * time.Second)
		c.refused(404, "is not found", "PATCH", "tm/transaction/"+id, commit)
		if n := c.unit.Transactions(); n != 0 {
			t.Errorf("%d transactions are open", n)
		}
		c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~late", nil)
	})
	t.Run("detached monitor", func(t *testing.T) {
		c.ok("POST", "tm/ltm/monitor/tcp", object{"name": "m", "partition": "lab"})
		c.ok("POST", "tm/ltm/pool", object{"name": "monitored", "partition": "lab", "monitor": "/lab/m"})
		id := c.begin()
		c.queue(id, "PATCH", "tm/ltm/pool/~lab~monitored", object{"monitor": ""})
		c.queue(id, "DELETE", "tm/ltm/monitor/tcp/~lab~m", nil)
		c.refused(400, "transaction failed:01070083:3: Monitor /lab/m is in use", "PATCH", "tm/transaction/"+id, commit)
		c.ok("PATCH", "tm/ltm/pool/~lab~monitored", object{"monitor": ""})
		id = c.begin()
		c.queue(id, "DELETE", "tm/ltm/monitor/tcp/~lab~m", nil)
		c.commit(id)
	})
}

// TestTransactionOfThousands shows that what a client has to do in one go is quick.
func TestTransactionOfThousands(t *testing.T) {
	c := lab(t)
	began := time.Now()
	id := c.begin()
	for p := range 100 {
		var members []any
		for m := range 20 {
			members = append(members, object{"name": fmt.Sprintf("10.1.%d.%d:80", p, m), "ratio": 1, "session": "user-enabled", "state": "user-up"})
		}
		c.queue(id, "POST", "tm/ltm/pool", object{"name": fmt.Sprint("p", p), "partition": "lab", "members": members})
	}
	c.commit(id)
	body := c.ok("GET", "tm/ltm/pool?expandSubcollections=true&$filter=partition+eq+lab", nil)
	n := 0
	for _, pool := range body["items"].([]any) {
		n += len(at(t, pool, "membersReference", "items").([]any))
	}
	if n != 2000 {
		t.Errorf("%d members, want 2000", n)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestFaultsOfCommits(t *testing.T) {
	for _, test := range []struct {
		fault   bigip.Fault
		status  int
		words   string
		applied bool
	}{
		{bigip.Fault{Kind: bigip.RefuseCommit, Command: 2, Times: 1}, 400, "transaction failed:01070734:3: Configuration error: command 2 was refused", false},
		{bigip.Fault{Kind: bigip.RefuseCommit, Message: "01070712:3: no", Times: 1}, 400, "transaction failed:01070712:3: no", false},
		{bigip.Fault{Kind: bigip.FailCommit, Times: 1}, 200, "", false},
		{bigip.Fault{Kind: bigip.ResetAfter, Times: 1}, 0, "", true},
		{bigip.Fault{Kind: bigip.Timeout500, Times: 1, Method: "PATCH", Path: "/mgmt/tm/transaction"}, 500, "", true},
	} {
		t.Run(string(test.fault.Kind), func(t *testing.T) {
			c := lab(t)
			f := c.unit.Fault(test.fault)
			id := c.begin()
			for _, name := range []string{"a", "b", "c"} {
				c.queue(id, "POST", "tm/ltm/pool", object{"name": name, "partition": "lab"})
			}
			status, body := c.send("PATCH", "tm/transaction/"+id, commit)
			message, _ := body["message"].(string)
			if status != test.status || !strings.Contains(message, test.words) {
				t.Errorf("%d %v, want %d %q", status, body, test.status, test.words)
			}
			if test.fault.Kind == bigip.FailCommit && body["state"] != "FAILED" {
				t.Errorf("state %v", body["state"])
			}
			pools, _ := c.ok("GET", "tm/ltm/pool", nil)["items"].([]any)
			if want := map[bool]int{true: 3}[test.applied]; len(pools) != want {
				t.Errorf("%d pools, want %d", len(pools), want)
			}
			if f.Hits() != 1 {
				t.Errorf("%d hits", f.Hits())
			}
		})
	}
}
