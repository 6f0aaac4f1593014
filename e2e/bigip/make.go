package bigip

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Apply does a request without a server, a user and the log, as a shell on the unit
// would: a test's own change, drift for instance. path is below /mgmt/tm/. It returns the
// body of the answer. On a unit of a pair it counts as a change like any other.
func (u *Unit) Apply(method, path string, body any) (map[string]any, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the body for %s %s: %w", method, path, err)
	}
	c := &call{method: method, path: "/mgmt/tm/" + path, entry: &Request{}}
	address, query, _ := strings.Cut(path, "?")
	c.segments, c.rawQuery = strings.Split("tm/"+address, "/"), query
	if c.query, err = url.ParseQuery(query); err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		if err := json.Unmarshal(text, &c.body); err != nil {
			return nil, fmt.Errorf("read the body for %s %s: %w", method, path, err)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settle()
	answer := u.route(c)
	u.settle()
	out := map[string]any{}
	if text, err = json.Marshal(answer.body); err != nil {
		return nil, fmt.Errorf("encode the answer of %s %s: %w", method, path, err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	}
	if answer.status != http.StatusOK {
		return nil, fmt.Errorf("%s %s: %d: %v", method, path, answer.status, out["message"])
	}
	return out, nil
}

// Must is Apply for what cannot fail; it panics if it does.
func (u *Unit) Must(method, path string, body any) map[string]any {
	out, err := u.Apply(method, path, body)
	if err != nil {
		panic("bigip: " + err.Error())
	}
	return out
}
