package http

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/http/faulty"
	"github.com/poise-lb/poise/sdk"
)

// judged is what a reply comes to, fed in parts of a size.
type judged struct {
	done   bool
	err    string
	eof    string
	status int
	size   int64
	digest string
}

func judge(u *url, raw bool, in []byte, part int) judged {
	var r reply
	r.begin(u, raw, false, time.Time{})
	var out judged
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for rest := in; len(rest) > 0 && !out.done && out.err == ""; {
		n := min(part, len(rest))
		done, err := r.feed(rest[:n])
		out.done, out.err, rest = done, text(err), rest[n:]
	}
	if !out.done && out.err == "" {
		out.eof = text(r.eof())
	}
	// How much of a body came before what is wrong with it is a matter of parts.
	if out.status = r.status; out.err == "" {
		out.size = r.body.size
		out.digest = text(r.body.end())
	}
	return out
}

// FuzzReply: however a reply is cut into parts, it comes to the same.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.0 404\r\n\r\n", "", "\r\n\r\n", faulty.Body,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 5000) + "\r\n\r\nhello", "HTTP/1.1 204 No Content\r\n\r\n",
	} {
		f.Add([]byte(s), 3, true)
		f.Add([]byte(s), 1, false)
	}
	c, err := Parameters{Protocol: Version11, Method: "GET", URLs: []URL{{Path: "/", Digest: digestOf("hello"), Status: []string{"200-299", "404"}}}}.Compile()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte, part int, raw bool) {
		if part < 1 {
			part = 1
		}
		whole, parts := judge(&c.urls[0], raw, in, len(in)+1), judge(&c.urls[0], raw, in, part)
		// A head that is too long is told as soon as that is certain: by then the status
		// line may not be there yet.
		if strings.HasPrefix(whole.err, "headers longer") || strings.HasPrefix(whole.err, "not HTTP: no") {
			return
		}
		if !reflect.DeepEqual(whole, parts) {
			t.Errorf("%q in parts of %d: %+v, whole %+v", in, part, parts, whole)
		}
	})
}

// FuzzParameters: parameters are taken or refused with a path that is a JSON pointer,
// and what is taken can be used.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"urls":[{"path":"/","status":["200"],"digest":"` + digestOf("x") + `","regex":"a+","regex_options":["caseless","utf"],"regex_min_offset":1,"regex_max_offset":2}]}`,
		`{"http_protocol":"2","virtualhost":"x","method":"HEAD","headers":{"X":"y"},"fast_recovery":true}`, `{"urls":[{"path":"a b"}]}`, `[`, `{"raw_body":true}`,
		`{"urls":[{"path":"/","regex":"[[:alpha:]a-z\\d]+(?<n>x)\\k<n>(?i)\\Q.\\E$"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := New().Parse(in)
		if err != nil {
			wrong, ok := err.(*sdk.ParameterError)
			if !ok || wrong.Message == "" || wrong.Path != "" && wrong.Path[0] != '/' {
				t.Errorf("%q: the error %v has no pointer or no text", in, err)
			}
			return
		}
		c := p.(*prober).check
		for i := range c.urls {
			request := c.request(&c.urls[i], sdk.Target{})
			head, rest, found := bytes.Cut(request, []byte("\r\n\r\n"))
			if !found || len(rest) > 0 || bytes.ContainsAny(bytes.ReplaceAll(head, []byte("\r\n"), nil), "\r\n\x00") {
				t.Errorf("%q: the request is %q", in, request)
			}
		}
	})
}

// FuzzRegex: a regex is refused or carried out, and neither panics.
func FuzzRegex(f *testing.F) {
	table, err := os.ReadFile("testdata/pcre.tsv")
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		var regex string
		if n++; n%20 == 0 && json.Unmarshal([]byte(strings.Split(line, "\t")[0]), &regex) == nil {
			f.Add(regex, "aab\n", n%40 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, regex, body string, utf bool) {
		u := URL{Regex: regex, RegexOptions: map[bool][]string{true: {"utf"}}[utf]}
		if len(regex) > 200 || regex == "" {
			return
		}
		m, err := newMatcher(&u, "/u")
		if err != nil {
			return
		}
		m.begin(time.Now().Add(100 * time.Millisecond))
		if m.write([]byte(body)) == nil {
			_, _ = m.end()
		}
		m.release()
	})
}
