package bigip_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/bigip"
)

// client talks to a unit as a test wants it: every answer is looked at.
type client struct {
	testing.TB
	unit          *bigip.Unit
	http          *http.Client
	token         string
	transaction   string
	user, pass    string
	lastHeader    http.Header
	contentOfLast string
}

type object = map[string]any

func dial(t testing.TB, u *bigip.Unit) *client {
	t.Helper()
	if u.Addr() == "" {
		if err := u.Start(""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := u.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(u.CA()) {
		t.Fatal("the unit's CA is no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{TB: t, unit: u, http: &http.Client{Transport: transport}, user: "admin", pass: "admin"}
}

// send does a request and gives status and body; 0 if there was no answer.
func (c *client) send(method, path string, body any) (int, object) {
	c.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(c.Context(), method, c.unit.URL()+"/mgmt/"+path, reader)
	if err != nil {
		c.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	switch {
	case c.token != "":
		r.Header.Set("X-F5-Auth-Token", c.token)
	case c.user != "":
		r.SetBasicAuth(c.user, c.pass)
	}
	if c.transaction != "" {
		r.Header.Set("X-F5-REST-Coordination-Id", c.transaction)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, object{"error": err.Error()}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, object{"error": err.Error()}
	}
	c.lastHeader, c.contentOfLast = answer.Header, string(text)
	out := object{}
	if len(text) > 0 && strings.Contains(answer.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(text, &out); err != nil {
			c.Fatalf("%s %s: %s: %s", method, path, err, text)
		}
	}
	return answer.StatusCode, out
}

// ok is send for what must go well.
func (c *client) ok(method, path string, body any) object {
	c.Helper()
	status, out := c.send(method, path, body)
	if status != http.StatusOK {
		c.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

// refused is send for what must be refused with a message that has these words.
func (c *client) refused(status int, words, method, path string, body any) object {
	c.Helper()
	got, out := c.send(method, path, body)
	message, _ := out["message"].(string)
	if got != status || !strings.Contains(message, words) {
		c.Errorf("%s %s %v: %d %q, want %d with %q", method, path, body, got, message, status, words)
	}
	return out
}

func at(t testing.TB, v any, path ...string) any {
	t.Helper()
	for _, name := range path {
		m, ok := v.(object)
		if !ok {
			t.Fatalf("%v has no %s", v, name)
		}
		v = m[name]
	}
	return v
}
