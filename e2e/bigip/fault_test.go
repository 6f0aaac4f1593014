package bigip_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

func record(method, path, body string) (*httptest.ResponseRecorder, *http.Request) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.SetBasicAuth("admin", "admin")
	return httptest.NewRecorder(), r
}

func TestFaults(t *testing.T) {
	for _, test := range []struct {
		fault  bigip.Fault
		status int
		text   string
	}{
		{bigip.Fault{Kind: bigip.HTML503}, 503, "Configuration Utility restarting..."},
		{bigip.Fault{Kind: bigip.JSON503}, 503, `"apiError":32964609`},
		{bigip.Fault{Kind: bigip.MCPDLost}, 500, "The connection to mcpd has been lost, try again."},
		{bigip.Fault{Kind: bigip.NotRegistered}, 404, "Public URI path not registered: /tm/ltm/pool/?lab?web"},
		{bigip.Fault{Kind: bigip.Unauthorized}, 401, "Authorization failed: no user authentication header or token detected."},
		{bigip.Fault{Kind: bigip.Unauthorized503}, 401, "java.net.ProtocolException: status:503, body:"},
		{bigip.Fault{Kind: bigip.Reset}, 0, ""},
	} {
		t.Run(string(test.fault.Kind), func(t *testing.T) {
			c := lab(t)
			c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
			before := string(c.unit.Dump())
			test.fault.Times, test.fault.After = 2, 1
			f := c.unit.Fault(test.fault)
			c.ok("GET", "tm/ltm/pool/~lab~web", nil)
			for range 2 {
				status, _ := c.send("PATCH", "tm/ltm/pool/~lab~web", object{"description": "changed"})
				if status != test.status || status != 0 && !strings.Contains(c.contentOfLast, test.text) {
					t.Errorf("%d %s, want %d %q", status, c.contentOfLast, test.status, test.text)
				}
				if html := strings.Contains(c.lastHeader.Get("Content-Type"), "html"); status != 0 && html != (test.fault.Kind == bigip.HTML503) {
					t.Errorf("content type %s", c.lastHeader.Get("Content-Type"))
				}
			}
			if string(c.unit.Dump()) != before || f.Hits() != 2 {
				t.Errorf("changed, or %d hits", f.Hits())
			}
			c.ok("PATCH", "tm/ltm/pool/~lab~web", object{"description": "changed"})
			log := c.unit.Requests()
			if r := log[len(log)-2]; r.Status != test.status || len(r.Faults) != 1 || r.Faults[0] != test.fault.Kind {
				t.Errorf("the log has %+v", r)
			}
		})
	}
}

func TestFaultForSomeTime(t *testing.T) {
	c := lab(t)
	c.unit.Fault(bigip.Fault{Kind: bigip.HTML503, For: 30 * time.Second})
	for range 3 {
		if status, _ := c.send("GET", "tm/sys/ready", nil); status != 503 {
			t.Errorf("%d, want 503", status)
		}
	}
	c.unit.Clock().Advance(30 * time.Second)
	c.ok("GET", "tm/sys/ready", nil)
}

func TestFaultOfSomeRequests(t *testing.T) {
	c := lab(t)
	f := c.unit.Fault(bigip.Fault{Kind: bigip.MCPDLost, Method: "POST", Path: "/mgmt/tm/ltm/"})
	c.ok("GET", "tm/ltm/pool", nil)
	c.ok("POST", "tm/transaction", object{})
	c.refused(500, "mcpd", "POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
	f.Clear()
	c.ok("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
}

func TestAnswerThatIsLost(t *testing.T) {
	c := lab(t)
	c.unit.Fault(bigip.Fault{Kind: bigip.ResetAfter, Method: "POST", Times: 1})
	if status, body := c.send("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"}); status != 0 {
		t.Errorf("answered %d %v", status, body)
	}
	c.ok("GET", "tm/ltm/pool/~lab~web", nil)
}

func TestHang(t *testing.T) {
	c := lab(t)
	f := c.unit.Fault(bigip.Fault{Kind: bigip.Hang})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", c.unit.URL()+"/mgmt/tm/sys/ready", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := c.http.Do(r); err == nil {
		t.Errorf("answered %s", answer.Status)
		answer.Body.Close()
	}
	done := make(chan int)
	go func() {
		status, _ := c.send("POST", "tm/ltm/pool", object{"name": "web", "partition": "lab"})
		done <- status
	}()
	for f.Hits() < 2 {
		time.Sleep(time.Millisecond)
	}
	f.Clear()
	if status := <-done; status != 0 {
		t.Errorf("answered %d after the fault was cleared", status)
	}
	c.refused(404, "01020036:3:", "GET", "tm/ltm/pool/~lab~web", nil)
}

func TestSlow(t *testing.T) {
	c := lab(t)
	c.unit.Fault(bigip.Fault{Kind: bigip.Slow, Delay: 50 * time.Millisecond})
	c.unit.Fault(bigip.Fault{Kind: bigip.JSON503, Times: 1})
	began := time.Now()
	c.refused(503, "active asynchronous task", "GET", "tm/sys/ready", nil)
	c.ok("GET", "tm/sys/ready", nil)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("two requests took %s", took)
	}
}

// TestCloseWithRequests shows that Close waits for nobody.
func TestCloseWithRequests(t *testing.T) {
	u := bigip.New(bigip.Options{})
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	c := dial(t, u)
	f := u.Fault(bigip.Fault{Kind: bigip.Hang})
	done := make(chan int)
	go func() {
		status, _ := c.send("GET", "tm/sys/ready", nil)
		done <- status
	}()
	for f.Hits() < 1 {
		time.Sleep(time.Millisecond)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if status := <-done; status != 0 {
		t.Errorf("answered %d", status)
	}
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	c.ok("GET", "tm/sys/ready", nil)
}

func TestWithoutServer(t *testing.T) {
	u := bigip.New(bigip.Options{Partitions: []string{"lab"}})
	w, r := record("POST", "/mgmt/tm/ltm/pool/", `{"name":"web","partition":"lab"}`)
	u.ServeHTTP(w, r)
	if body, _ := io.ReadAll(w.Body); w.Code != 200 {
		t.Errorf("%d %s", w.Code, body)
	}
}
