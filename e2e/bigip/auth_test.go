package bigip_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

// login gives a client with a token of its own.
func (c *client) login(user, password string) (*client, object) {
	c.Helper()
	sub := *c
	sub.user, sub.token = "", ""
	body := sub.ok("POST", "shared/authn/login", object{"username": user, "password": password, "loginProviderName": "tmos"})
	sub.token = at(c, body, "token", "token").(string)
	return &sub, body
}

func people(t *testing.T) *client {
	return dial(t, bigip.New(bigip.Options{Users: map[string]string{"admin": "admin", "poise": "secret", "other": "secret"}}))
}

func TestTokens(t *testing.T) {
	base := people(t)
	c, body := base.login("poise", "secret")
	micros := at(t, body, "token", "expirationMicros").(float64) - at(t, body, "token", "lastUpdateMicros").(float64)
	if at(t, body, "token", "timeout") != 1200.0 || micros != 1200e6 {
		t.Errorf("a new token is good for %v and %v µs", at(t, body, "token", "timeout"), micros)
	}
	c.ok("GET", "tm/sys/ready", nil)

	anonymous := *c
	anonymous.token = ""
	anonymous.refused(401, "Authorization failed: no user authentication header or token detected. Uri:http://localhost:8100/mgmt/tm/ltm/virtual", "GET", "tm/ltm/virtual", nil)
	anonymous.refused(401, "no user authentication header", "GET", "tm/no/such", nil)
	stranger := *c
	stranger.token = "NOSUCHTOKEN"
	got := stranger.refused(401, "X-F5-Auth-Token does not exist.", "GET", "tm/sys/ready", nil)
	if got["kind"] != ":resterrorresponse" || got["referer"] != "127.0.0.1" || got["restOperationId"] == nil {
		t.Errorf("error body %v", got)
	}
	anonymous.refused(401, "Authentication failed.", "POST", "shared/authn/login", object{"username": "poise", "password": "wrong", "loginProviderName": "tmos"})
	wrong := *c
	wrong.token, wrong.user, wrong.pass = "", "poise", "wrong"
	if status, _ := wrong.send("GET", "tm/sys/ready", nil); status != 401 {
		t.Errorf("wrong basic credentials: %d", status)
	}
	wrong.pass = "secret"
	wrong.ok("GET", "tm/sys/ready", nil)

	c.unit.Clock().Advance(1199 * time.Second)
	c.ok("GET", "tm/sys/ready", nil)
	c.unit.Clock().Advance(time.Second)
	c.refused(401, "X-F5-Auth-Token has expired.", "GET", "tm/sys/ready", nil)

	c, _ = base.login("poise", "secret")
	c.unit.Restart()
	c.refused(401, "X-F5-Auth-Token does not exist.", "GET", "tm/sys/ready", nil)
	for _, r := range c.unit.Requests() {
		if strings.Contains(string(r.Body), "secret") {
			t.Errorf("a password is in the log: %s", r.Body)
		}
	}
}

func TestTokenLife(t *testing.T) {
	base := people(t)
	c, _ := base.login("poise", "secret")
	path := "shared/authz/tokens/" + c.token
	if got := c.ok("PATCH", path, object{"timeout": 36000}); got["timeout"] != 36000.0 {
		t.Errorf("extended to %v", got["timeout"])
	}
	c.refused(406, "Auth-token absolute timeout (36000 seconds) exceeded", "PATCH", path, object{"timeout": 36001})
	c.unit.Clock().Advance(9 * time.Hour)
	c.ok("PATCH", path, object{"timeout": 3000})
	got := c.ok("PATCH", path, object{"timeout": 7200})
	if left := got["expirationMicros"].(float64) - got["lastUpdateMicros"].(float64); left > 3600e6 {
		t.Errorf("is good for %v µs more, 9 hours after it was made", left)
	}
	c.refused(400, "timeout", "PATCH", path, object{"userName": "admin"})

	other, _ := base.login("other", "secret")
	other.refused(400, "Authorization failed", "GET", path, nil)
	other.refused(400, "Authorization failed", "DELETE", path, nil)
	if n := len(other.ok("GET", "shared/authz/tokens", nil)["items"].([]any)); n != 1 {
		t.Errorf("sees %d tokens, want its own", n)
	}
	c.ok("GET", path, nil)
	c.ok("DELETE", path, nil)
	c.refused(401, "X-F5-Auth-Token does not exist.", "GET", "tm/sys/ready", nil)
}

func TestHundredTokens(t *testing.T) {
	u := people(t).unit
	login := func(user, password string) int {
		body := `{"username":"` + user + `","password":"` + password + `"}`
		w, r := record("POST", "/mgmt/shared/authn/login", body)
		u.ServeHTTP(w, r)
		return w.Code
	}
	for range 100 {
		if status := login("poise", "secret"); status != 200 {
			t.Fatal(status)
		}
	}
	if status := login("poise", "secret"); status != 400 {
		t.Errorf("the 101st: %d", status)
	}
	if status := login("other", "secret"); status != 200 {
		t.Errorf("another user: %d", status)
	}
	for range 101 {
		if status := login("admin", "admin"); status != 200 {
			t.Fatalf("admin: %d", status)
		}
	}
	if n := u.Tokens("poise"); n != 100 {
		t.Errorf("%d tokens", n)
	}
	u.Clock().Advance(20 * time.Minute)
	if status := login("poise", "secret"); status != http.StatusOK || u.Tokens("poise") != 1 {
		t.Errorf("after the others expired: %d, %d tokens", status, u.Tokens("poise"))
	}
}
