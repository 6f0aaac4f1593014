package icontrol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// sentinels are all that an Error can mean, but for the outcome.
var sentinels = map[string]error{
	"not found": ErrNotFound, "conflict": ErrConflict, "in use": ErrInUse, "address": ErrAddressTaken, "partition": ErrNoPartition,
	"transient": ErrTransient, "auth": ErrAuth,
}

// meaning gives what an error is, "permanent" if nothing.
func meaning(err error) string {
	var found []string
	for name, s := range sentinels {
		if errors.Is(err, s) {
			found = append(found, name)
		}
	}
	if found == nil {
		return "permanent"
	}
	return strings.Join(found, " and ")
}

func body(status int, message string, apiError int) []byte {
	b, _ := json.Marshal(map[string]any{"code": status, "message": message, "errorStack": []string{}, "apiError": apiError})
	return b
}

// TestClassification has a row for each of those in the reference.
func TestClassification(t *testing.T) {
	pool := Collection("ltm", "pool").Object(Name{Partition: "P", Name: "x"})
	pools := Collection("ltm", "pool")
	commit := transactionPath.Sub("1")
	const get, post, patch, remove = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	for _, test := range []struct {
		method  string
		path    Path
		status  int
		message string
		code    string
		want    string
	}{
		{get, pool, 404, "01020036:3: The requested Pool (/P/x) was not found.", "01020036", "not found"},
		{remove, pool, 404, "01020036:3: The requested Pool Member (/P/x /P/y 80) was not found.", "01020036", "not found"},
		{get, pool, 404, "Object not found - /Common/x:80", "", "not found"},
		{get, pool, 404, "Public URI path not registered: /tm/ltm/pool/?Common?my-pool", "", "transient"},
		{post, pools, 404, "Public URI path not registered: /tm/ltm/pool", "", "transient"},
		{get, pool, 404, "URI path /tm/ltm/pool not registered. Please verify URI is supported and wait for /available suffix to be responsive.", "", "transient"},
		{post, pool.Sub("members"), 404, "01020036:3: The requested pool (/Common/wrong) was not found.", "01020036", "permanent"},
		{patch, commit, 404, "there is no command to commit in the transaction.", "", "permanent"},
		{get, pool, 404, "", "", "permanent"},
		{post, pools, 409, "01020066:3: The requested Pool (/P/n) already exists in partition P.", "01020066", "conflict"},
		{post, pools, 400, "The requested folder (/P) was not found.", "", "partition"},
		{get, pools, 404, "The requested folder (/P) was not found.", "", "partition"},
		{remove, pool, 400, "01070265:3: The Pool (/P/x) cannot be deleted because it is in use by a Virtual Server (/P/v).", "01070265", "in use"},
		{remove, pool, 400, "01070110:3: Node address '/P/n' is referenced by a member of pool '/P/p'.", "01070110", "in use"},
		{remove, pool, 400, "01070320:3: Snatpool x is still referenced by a virtual server.", "01070320", "in use"},
		{remove, pool, 400, "01070083:3: Monitor /Common/x is in use.", "01070083", "in use"},
		{post, pools, 400, "01070333:3: Virtual Server A illegally shares destination address, source address, service port, ip-protocol, and vlan with Virtual Server B.", "01070333", "address"},
		{post, pools, 400, "0107176c:3: Invalid Virtual Address, the IP address 10.0.0.1%1 already exists.", "0107176c", "address"},
		{post, pools, 400, "01070734:3: Configuration error: whatever", "01070734", "permanent"},
		{post, pools, 400, `invalid property value "state":"up"`, "", "permanent"},
		{patch, pool, 400, "one or more properties must be specified", "", "permanent"},
		{patch, pool, 400, "Found invalid JSON body in the request.", "", "permanent"},
		{patch, pool, 400, "HTML Tag-like Content in the Request URL/Body", "", "permanent"},
		{remove, pool, 400, "0107082a:3: You must remove all objects from a partition before removing the partition P", "0107082a", "in use"},
		{patch, pool, 400, "01020057:3: The string with more than 65535 characters cannot be stored in a message.", "01020057", "permanent"},
		{patch, pool, 400, "01070712:3: Values (...) too long: max string size", "01070712", "permanent"},
		{get, pools, 400, "can't get object count from mcpd", "", "transient"},
		{get, pools, 500, "The connection to mcpd has been lost, try again.", "", "transient"},
		{get, pools, 503, "There is an active asynchronous task executing.", "", "transient"},
		{get, pools, 429, "slow down", "", "transient"},
		{patch, commit, 400, "transaction failed:01070320:3: Snatpool mysnatpool is still referenced by a virtual server.", "01070320", "in use"},
		{patch, commit, 400, "transaction failed:01020066:3: The requested Pool (/P/n) already exists in partition P.", "01020066", "conflict"},
		{patch, commit, 400, "transaction failed:01020036:3: The requested Pool (/P/n) was not found.", "01020036", "permanent"},
		{patch, commit, 400, "transaction failed:01070734:3: Configuration error: no", "01070734", "permanent"},
		{get, pool, 401, "X-F5-Auth-Token has expired.", "", "transient"},
		{get, pool, 401, "Authorization failed: no user authentication header or token detected. Uri:http://localhost:8100/mgmt/tm/ltm/virtual", "", "transient"},
		{post, loginPath, 401, `java.net.ProtocolException: status:503, body:{"code":503}`, "", "transient"},
		{post, loginPath, 401, "Authorization failed: no user authentication header or token detected.", "", "transient"},
		{post, loginPath, 401, "Authentication failed.", "", "auth"},
		{post, loginPath, 400, "user 5a2e has reached maximum active login tokens", "", "transient"},
		{get, pool, 403, "no", "", "auth"},
		{patch, tokensPath, 406, "Auth-token absolute timeout (36000 seconds) exceeded", "", "permanent"},
		{get, pool, 501, "no", "", "permanent"},
		{get, pool, 502, "", "", "transient"},
	} {
		e := refusal(test.method, test.path, test.status, "application/json; charset=UTF-8", body(test.status, test.message, 3))
		if got := meaning(e); got != test.want || e.Code != test.code || e.HTML {
			t.Errorf("%s, %d %q: %s, code %q, not %s, code %q", test.method, test.status, test.message, got, e.Code, test.want, test.code)
		}
		// One that was put together, by a fake for one, means the same.
		made := &Error{Method: e.Method, Path: e.Path, HTTP: e.HTTP, Code: e.Code, Message: e.Message}
		if got := meaning(fmt.Errorf("wrapped: %w", made)); got != test.want {
			t.Errorf("%s, %d %q, made by hand: %s, not %s", test.method, test.status, test.message, got, test.want)
		}
	}
}

func TestPages(t *testing.T) {
	pool := Collection("ltm", "pool")
	for _, test := range []struct {
		status     int
		kind, page string
		says, want string
	}{
		{503, "text/html", "<html><head><title>Configuration Utility restarting...</title><style>x{}</style></head><script>if (a<b) {}</script><body>wait</body>", "Configuration Utility restarting... wait", "transient"},
		{500, "text/html;charset=utf-8", "<html><body>AsyncContext timeout</body></html>", "AsyncContext timeout", "transient"},
		{404, "", "<html>not here", "not here", "transient"},
		{503, "text/html", "", "Service Unavailable, no reason given", "transient"},
		{400, "text/plain", "what?\n", "what?", "permanent"},
		{500, "application/json", "{", "{", "transient"},
		{418, "application/json", `{"message":17}`, "17", "permanent"},
		{400, "text/html", "<script>", "Bad Request, no reason given", "permanent"},
	} {
		e := refusal(http.MethodGet, pool, test.status, test.kind, []byte(test.page))
		if got := meaning(e); got != test.want || e.Message != test.says {
			t.Errorf("%d %q: %s, %q", test.status, test.page, got, e.Message)
		}
		if want := strings.Contains(test.kind, "html") || strings.HasPrefix(test.page, "<"); e.HTML != want {
			t.Errorf("%d %q: a page: %v", test.status, test.page, e.HTML)
		}
	}
}

func TestErrorText(t *testing.T) {
	e := refusal(http.MethodGet, Collection("ltm", "pool").Object(Name{Partition: "P", Name: "x%1"}), 404, "application/json", body(404, "01020036:3: The requested Pool (/P/x) was not found.", 3))
	if got, want := e.Error(), "GET /mgmt/tm/ltm/pool/~P~x%251: 404 01020036 The requested Pool (/P/x) was not found."; got != want {
		t.Errorf("the error is %q, not %q", got, want)
	}
	if e.APIError != 3 {
		t.Errorf("apiError is %d", e.APIError)
	}
}

// TestObservedErrors reads what real devices answered.
func TestObservedErrors(t *testing.T) {
	const file = "../../../../../shared/f5-fixtures/observed_error_bodies.json"
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		t.Skipf("answers of real devices are not in %s", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	var observed struct {
		Errors []struct {
			When        string
			HTTP        int
			Body        json.RawMessage
			ContentType string `json:"content_type"`
			Contains    string `json:"body_text_contains"`
		}
	}
	if err := json.Unmarshal(data, &observed); err != nil {
		t.Fatal(err)
	}
	// By the beginning of what they say of themselves.
	wants := map[string]string{
		"GET/PATCH/DELETE of a pool that does not exist": "not found", "PATCH/DELETE of a pool member that does not exist": "not found",
		"GET of a pool member that does not exist": "not found", "POST of an object whose name exists": "conflict",
		"POST of a pool into a partition that does not exist": "partition", "PATCH/PUT with an empty effective body": "permanent",
		"DELETE of a node that a pool member uses": "in use", "POST of a virtual with the same destination": "address",
		"commit of a transaction that holds no command": "permanent", "commit of a transaction one of whose commands": "in use",
		"no credentials, or auth subsystem overloaded": "transient", "restjavad just restarted": "transient", "mcpd restarting": "transient",
		"another asynchronous task runs": "transient", "httpd/restjavad restarting": "transient",
	}
	for _, o := range observed.Errors {
		want := ""
		for when, class := range wants {
			if strings.HasPrefix(o.When, when) {
				want = class
			}
		}
		method, _, _ := strings.Cut(strings.TrimPrefix(o.When, "DELETE of"), " ")
		method = map[string]string{"POST": http.MethodPost, "commit": http.MethodPatch}[method]
		if method == "" {
			method = http.MethodGet
		}
		content, contentType := []byte(o.Body), "application/json"
		if o.Contains != "" {
			content, contentType = []byte("<html><title>"+o.Contains+"</title></html>"), o.ContentType
		}
		e := refusal(method, Collection("ltm", "pool"), o.HTTP, contentType, content)
		if got := meaning(e); got != want {
			t.Errorf("%s: %v is %s, not %q", o.When, e, got, want)
		}
		if e.HTML != (o.Contains != "") {
			t.Errorf("%s: a page: %v", o.When, e.HTML)
		}
	}
	if len(observed.Errors) < len(wants) {
		t.Errorf("%d bodies for %d rows", len(observed.Errors), len(wants))
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(404, "application/json", body(404, "01020036:3: The requested Pool (/P/x) was not found.", 3))
	f.Add(503, "text/html", []byte("<html><title>Configuration Utility restarting...</title><script>a</script>"))
	f.Add(400, "", body(400, "transaction failed:01070320:3: x", 2))
	f.Add(500, "x", []byte("\xff<"))
	f.Add(400, "", []byte(`{"message":{"a":[1]},"apiError":"x"}`))
	f.Fuzz(func(t *testing.T, status int, contentType string, content []byte) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch} {
			e := refusal(method, Collection("ltm", "pool"), status, contentType, content)
			if len(e.Message) > maxMessage+40 || e.Message == "" || !utf8.ValidString(e.Message) || strings.ContainsFunc(e.Message, unicode.IsControl) {
				t.Fatalf("the message is %q", e.Message)
			}
			if e.Code != "" && len(e.Code) != 8 {
				t.Fatalf("the code is %q", e.Code)
			}
			if errors.Is(e, ErrNotFound) && (status != 404 || e.HTML || method == http.MethodPost) {
				t.Fatalf("%v means that the object is absent", e)
			}
			if strings.Contains(meaning(e), " and ") {
				t.Fatalf("%v is %s", e, meaning(e))
			}
		}
	})
}
