package http

import (
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
)

// verdicts folds results as the sdk does, in what a rotation goes by.
type verdicts struct {
	known    sdk.Outcome
	retries  int
	failures int
}

func (v *verdicts) take(found sdk.Outcome, partial bool) {
	switch {
	case found == sdk.Up && (!partial || v.known == sdk.Up):
		v.known, v.failures = sdk.Up, 0
	case found == sdk.Up:
		v.failures = 0
	case found == sdk.Down && v.known == sdk.Up && v.failures < v.retries:
		v.failures++
	case found == sdk.Down:
		v.known, v.failures = sdk.Down, 0
	}
}

// TestRotation: the requests that keepalived 2.2.7 makes, one letter for each: the url,
// a capital one where it fails; "+" and "-" after the request at which the server came
// or went, "!" where the probe could not be made.
func TestRotation(t *testing.T) {
	for _, test := range []struct {
		name    string
		urls    int
		retries int
		known   sdk.Outcome
		want    string
	}{
		{"one url", 1, 0, sdk.Unknown, "a+aA-Aaa+a"},
		{"one url with retries", 1, 2, sdk.Unknown, "a+aAAA-Aaa+a"},
		{"one url, saved by a retry", 1, 2, sdk.Unknown, "a+AAaAAaa"},
		{"one url, down at start", 1, 2, sdk.Unknown, "A-AAaa+a"},
		{"one url, a failure in the round", 1, 2, sdk.Unknown, "a+AAA-AaAAAAa+a"},
		{"three urls", 3, 2, sdk.Unknown, "abc+aBBB-BBbabc+abc"},
		{"three urls, saved by a retry", 3, 2, sdk.Unknown, "abc+aBBbcab"},
		{"three urls, the first down at start", 3, 2, sdk.Unknown, "A-Aaabc+abc"},
		{"three urls, the second down at start", 3, 2, sdk.Unknown, "aB-BBbabc+ab"},
		{"three urls, no retries", 3, 0, sdk.Unknown, "abc+abcA-aabc+"},
		{"three urls, the first down in the last one's round", 3, 2, sdk.Unknown, "abc+abCCC-cAAAAabc+a"},
		{"three urls, the second down in the first one's round", 3, 2, sdk.Unknown, "A-AAaaBBBBBbc+abc"},
		{"three urls, the last is the first to pass", 3, 0, sdk.Unknown, "abc+abC-Ccabc+ab"},
		{"known to be down", 3, 2, sdk.Down, "abc+abc"},
		{"known to be down, a failure", 3, 2, sdk.Down, "aBBbc+abc"},
		{"known to be up", 3, 1, sdk.Up, "abcaBB-babc+"},
		{"probes that could not be made", 3, 1, sdk.Unknown, "!a!bc+!aB!B-!b!a!bc+a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := rotation{urls: test.urls}
			v := verdicts{known: test.known, retries: test.retries}
			for i, c := range test.want {
				if c == '+' || c == '-' {
					continue
				}
				before := v.known
				due := r.begin(v.known)
				if c == '!' {
					v.take(sdk.Unknown, r.end(sdk.Unknown))
					continue
				}
				if want := int(c|0x20) - 'a'; due != want {
					t.Fatalf("%s%s: url %c is due, want %c", test.want[:i], "...", 'a'+due, c|0x20)
				}
				found := sdk.Up
				if c < 'a' {
					found = sdk.Down
				}
				v.take(found, r.end(found))
				change := ""
				switch {
				case before != v.known && v.known == sdk.Up:
					change = "+"
				case before != v.known && v.known == sdk.Down:
					change = "-"
				}
				if said := strings.Trim(test.want[i+1:min(i+2, len(test.want))], "abcABC!"); said != change {
					t.Fatalf("%s...: the verdict changes by %q, want %q", test.want[:i+1], change, said)
				}
			}
		})
	}
}

// recorder is a server that can be told which paths fail, and says what it was asked.
type recorder struct {
	mu    sync.Mutex
	fails string
	asked strings.Builder
}

func (r *recorder) ServeHTTP(w nethttp.ResponseWriter, q *nethttp.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimPrefix(q.URL.Path, "/")
	if strings.Contains(r.fails, name) {
		r.asked.WriteString(strings.ToUpper(name))
		w.WriteHeader(nethttp.StatusInternalServerError)
		return
	}
	r.asked.WriteString(name)
	_, _ = io.WriteString(w, name)
}

func (r *recorder) fail(names string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = names
}

func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.asked.String()
	r.asked.Reset()
	return s
}

// TestStart: which requests each start makes, by every way there is to carry it out.
func TestStart(t *testing.T) {
	for _, test := range []struct {
		name, more string
		// steps are what fails, what the check says, and what is asked then.
		steps [][3]string
	}{
		{"plain", "", [][3]string{{"", "?", "a"}, {"", "?", "b"}, {"", "?", "c+"}, {"b", "+", "a"}, {"b", "+", "B"}, {"b", "-", "B"}, {"", "-", "b"}, {"", "-", "a"}, {"", "-", "b"}, {"", "-", "c+"}, {"", "+", "a"}}},
		{"fast", `,"fast_recovery":true`, [][3]string{{"", "?", "abc+"}, {"", "+", "a"}, {"b", "+", "B"}, {"b", "-", "B"}, {"c", "-", "babC"}, {"", "-", "c+"}, {"", "+", "a"}, {"c", "+", "b"}, {"c", "+", "C"}, {"", "-", "cabc+"}}},
		{"fast, down at start", `,"fast_recovery":true`, [][3]string{{"b", "?", "aB"}, {"b", "-", "B"}, {"", "-", "babc+"}}},
	} {
		for _, way := range []struct{ name, more, url string }{
			{"engine", "", ""}, {"goroutine", "", `,"regex":"[abc]"`}, {"HTTP/2", `,"http_protocol":"2"`, ""},
		} {
			t.Run(test.name+"/"+way.name, func(t *testing.T) {
				var r recorder
				server := httptest.NewUnstartedServer(&r)
				server.Config.Protocols = new(nethttp.Protocols)
				server.Config.Protocols.SetHTTP1(true)
				server.Config.Protocols.SetUnencryptedHTTP2(true)
				server.Start()
				defer server.Close()
				target := sdk.Target{Addr: server.Listener.Addr().(*net.TCPAddr).AddrPort(), Trace: t.Logf}
				var urls []string
				for _, name := range []string{"a", "b", "c"} {
					urls = append(urls, fmt.Sprintf(`{"path":"/%s"%s}`, name, way.url))
				}
				p := parsed(t, `{"urls":[`+strings.Join(urls, ",")+`]`+test.more+way.more+`}`)
				for i, step := range test.steps {
					r.fail(step[0])
					target.Known.Outcome = map[string]sdk.Outcome{"?": sdk.Unknown, "+": sdk.Up, "-": sdk.Down}[step[1]]
					got := start(t, p, target, 20*time.Second)
					asked := r.take()
					if got.Outcome == sdk.Up && !got.Partial {
						asked += "+"
					}
					if got.Outcome == sdk.Down && !strings.HasPrefix(got.Reason, "/"+strings.ToLower(asked[len(asked)-1:])+": reply: status 500") {
						t.Errorf("step %d: the reason is %q", i, got.Reason)
					}
					if asked != step[2] && !(step[1] == "+" && asked == step[2]+"+") {
						t.Fatalf("step %d: asked for %q, want %q (%v)", i, asked, step[2], got)
					}
				}
				// Outside of the schedule all are asked for.
				r.fail("")
				r.take()
				if got := probe(t, `{"urls":[`+strings.Join(urls, ",")+`]`+way.more+`}`, target.Addr, 20*time.Second); got.Outcome != sdk.Up || r.take() != "abc" {
					t.Errorf("a probe: %v", got)
				}
			})
		}
	}
}
