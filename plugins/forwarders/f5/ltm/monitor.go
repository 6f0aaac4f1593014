package ltm

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// Monitor is a health monitor of the device.
type Monitor struct {
	Path string
	// Kind is "tcp", "http", ...
	Kind string
	// Interval and Timeout in seconds: down after Timeout without a good answer.
	Interval, Timeout int
	Send, Recv        string
	RecvDisable       string
	// Destination is "*:*" for the member's own.
	Destination                        string
	UpInterval, TimeUntilUp            int
	Reverse, Transparent, ManualResume bool
}

// MonitorKinds are the kinds of monitors that Import looks at.
func MonitorKinds() []string {
	return []string{"tcp", "tcp-half-open", "http", "https", "udp", "gateway-icmp", "icmp", "external", "inband"}
}

// MonitorCollection is the path to read a kind of monitors from.
func MonitorCollection(kind string) string { return root + "monitor/" + kind }

// DecodeMonitors reads a collection of monitors.
func DecodeMonitors(kind string, body []byte) ([]Monitor, error) {
	c, err := newObject(body, kind+" monitors")
	if err != nil {
		return nil, err
	}
	items := c.items()
	if c.has("fullPath") {
		items = []json.RawMessage{body}
	}
	var out []Monitor
	first := *c.err
	for _, raw := range items {
		o, err := newObject(raw, kind+" monitor")
		if err == nil {
			out = append(out, Monitor{
				Path: o.path("Common"), Kind: kind, Interval: o.number("interval", 5), Timeout: o.number("timeout", 16),
				Send: o.raw("send"), Recv: o.raw("recv"), RecvDisable: o.raw("recvDisable"), Destination: o.text("destination", "*:*"),
				UpInterval: o.number("upInterval", 0), TimeUntilUp: o.number("timeUntilUp", 0),
				Reverse: o.on("reverse", false), Transparent: o.on("transparent", false), ManualResume: o.on("manualResume", false),
			})
			err = *o.err
		}
		if first == nil {
			first = err
		}
	}
	return out, first
}

// parseMonitors reads the monitor of a pool or member: "/Common/a and /Common/b ", or
// "min 1 of { /Common/a /Common/b }". least 0: all.
func parseMonitors(text string) (paths []string, least int) {
	text = strings.TrimSpace(text)
	if rest, ok := strings.CutPrefix(text, "min "); ok {
		number, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
		least, _ = strconv.Atoi(number)
		text = strings.Trim(strings.TrimPrefix(strings.TrimSpace(rest), "of"), " {}")
	}
	for _, word := range strings.Fields(text) {
		if word != "and" {
			paths = append(paths, word)
		}
	}
	return paths, least
}

// check is what comes nearest to a monitor; nil: nothing does. notes say what differs.
func (m Monitor) check() (*forwardv1.ImportedCheck, []string) {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	c := &forwardv1.ImportedCheck{}
	var parameters any
	switch m.Kind {
	case "tcp", "tcp-half-open":
		c.Type = "tcp"
		if m.Send != "" || m.Recv != "" {
			note("what it sends and expects (%q, %q) is left out: a tcp check only connects", brief(m.Send), brief(m.Recv))
		}
		if m.Kind == "tcp-half-open" {
			note("a tcp check completes the connection")
		}
	case "http", "https":
		c.Type = "http"
		parameters = httpParameters(m, note)
		if m.Kind == "https" {
			c.Type = "ssl"
			note("certificates are not verified, as on the BIG-IP; take `verify: false` out to have that")
		}
	case "udp":
		c.Type = "udp"
		p := map[string]any{}
		if m.Send != "" {
			p["payload"] = hex.EncodeToString([]byte(unescape(m.Send)))
		}
		if m.Recv != "" {
			p["require_reply"] = true
			note("any reply is good: %q is not looked for", brief(m.Recv))
		}
		parameters = p
	case "gateway-icmp", "icmp":
		c.Type = "ping"
	default:
		return nil, []string{fmt.Sprintf("poise has no check like the monitor %s of kind %s: write one", m.Path, m.Kind)}
	}
	if raw, err := json.Marshal(parameters); err == nil && parameters != nil && string(raw) != "{}" {
		c.ParametersJson = raw
	}
	m.timing(c, note)
	for _, odd := range []struct {
		is   bool
		text string
	}{
		{m.RecvDisable != "", fmt.Sprintf("that %q drains the member is left out", brief(m.RecvDisable))},
		{m.Reverse, "it is reversed (a match is down), which is left out"},
		{m.Transparent, "it is transparent (it probes the virtual server's address through the member), which is left out"},
		{m.ManualResume, "manual resume is left out: members come back by themselves"},
		{m.UpInterval > 0, fmt.Sprintf("the interval of %d s while up is left out", m.UpInterval)},
		{m.TimeUntilUp > 0, fmt.Sprintf("the %d s before a member is up are left out", m.TimeUntilUp)},
		{m.Destination != "*:*" && m.Destination != "*.*" && m.Destination != "", fmt.Sprintf("it probes %s and not the member, which is left out", m.Destination)},
	} {
		if odd.is {
			note("%s", odd.text)
		}
	}
	return c, notes
}

// timing: the device's timeout is how long no probe may have succeeded, usually three
// intervals and a second; poise has a time for each probe, and retries.
func (m Monitor) timing(c *forwardv1.ImportedCheck, note func(string, ...any)) {
	interval := min(max(m.Interval, 1), 86400)
	probe := min(interval, max(m.Timeout, 1))
	c.Interval = durationpb.New(time.Duration(interval) * time.Second)
	c.Timeout = durationpb.New(time.Duration(probe) * time.Second)
	if retries := (m.Timeout - 1) / interval; retries > 1 {
		note("down after %d s without a good answer: set `retries: %d` (%d failed probes, %d s apart)", m.Timeout, retries-1, retries, interval)
	}
}

func brief(text string) string { return shorten(text) }

// unescape reads the device's backslashes: \r, \n, \t, \\, \".
func unescape(text string) string {
	return strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\t`, "\t", `\\`, `\`, `\"`, `"`).Replace(text)
}

// httpToken is what methods and names of headers are made of.
var (
	httpToken  = regexp.MustCompile(`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`)
	statusLine = regexp.MustCompile(`^\^?(HTTP/1\\?\.[01.x\[\]()|]*\s*)?\(?([1-5][0-9][0-9])\)?( ?OK)?$`)
)

func httpParameters(m Monitor, note func(string, ...any)) map[string]any {
	p, url := map[string]any{}, map[string]any{"path": "/", "status": []string{"100-599"}}
	if m.Kind == "https" {
		p["verify"] = false
	}
	head, body, _ := strings.Cut(strings.ReplaceAll(unescape(m.Send), "\r\n", "\n"), "\n\n")
	if strings.TrimSpace(body) != "" {
		note("the body of its request is left out")
	}
	lines := strings.Split(head, "\n")
	words := strings.Fields(lines[0])
	switch {
	case len(words) == 0:
	case len(words) < 2 || len(words) > 3 || !httpToken.MatchString(words[0]) || !strings.HasPrefix(words[1], "/"):
		note("its request %q is not understood: the check asks for /", brief(lines[0]))
	default:
		url["path"] = words[1]
		if words[0] != "GET" {
			p["method"] = words[0]
		}
		if len(words) == 2 || words[2] == "HTTP/1.0" || words[2] == "HTTP/0.9" {
			p["http_protocol"] = "1.0"
		}
	}
	headers := map[string]string{}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case line == "":
		case !ok || !httpToken.MatchString(name):
			note("the line %q of its request is left out", brief(line))
		case strings.EqualFold(name, "Host"):
			if value != "" {
				url["virtualhost"] = value
			}
		case slices.Contains([]string{"connection", "content-length", "transfer-encoding"}, strings.ToLower(name)):
		default:
			headers[name] = value
		}
	}
	if len(headers) > 0 {
		p["headers"] = headers
	}
	if found := statusLine.FindStringSubmatch(strings.TrimSpace(m.Recv)); found != nil {
		url["status"] = []string{found[2]}
	} else if m.Recv != "" {
		url["regex"] = m.Recv
		note("%q is looked for in the body; the BIG-IP looks in the headers too", brief(m.Recv))
	}
	p["urls"] = []any{url}
	return p
}
