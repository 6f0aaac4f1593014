package http

import (
	"encoding/hex"
	"fmt"
	neturl "net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/sdk"
)

// Versions of HTTP that a check can ask with.
const (
	Version10      = "1.0"
	Version10Close = "1.0C"
	Version11      = "1.1"
	Version2       = "2"
)

// Parameters are what a configuration says of a check.
type Parameters struct {
	URLs         []URL             `json:"urls" doc:"what to ask for, one after the other; without any: /"`
	VirtualHost  string            `json:"virtualhost" doc:"Host of the requests; empty: the target's address and port"`
	Protocol     string            `json:"http_protocol" doc:"1.0, 1.0C (with Connection: close), 1.1 or 2"`
	FastRecovery bool              `json:"fast_recovery" doc:"while it is not up, one probe asks for one url after the other"`
	Method       string            `json:"method" doc:"method of the requests"`
	Headers      map[string]string `json:"headers" doc:"further headers of the requests, in place of those that are sent anyway"`
	// RawBody is how keepalived reads a reply: to the end of the connection, whatever
	// lengths and chunks say. HTTP/1.0 is read like that anyway.
	RawBody      bool `json:"raw_body" doc:"read to the end of the connection; lengths and chunks are not looked at"`
	TLSCompliant bool `json:"tls_compliant" doc:"TLS has to be closed properly; for ssl only"`
}

// URL is one thing to ask for, and what the answer must be.
type URL struct {
	Path           string   `json:"path" doc:"path and query; required"`
	Status         []string `json:"status" doc:"status codes and ranges that are good; without any: 200-299"`
	Digest         string   `json:"digest" doc:"MD5 of the body in hex"`
	Regex          string   `json:"regex" doc:"regular expression (PCRE) that must be found in the body"`
	RegexNoMatch   bool     `json:"regex_no_match" doc:"the regular expression must not be found"`
	RegexOptions   []string `json:"regex_options" doc:"options of the regular expression, by keepalived's names"`
	RegexMinOffset int64    `json:"regex_min_offset" doc:"bytes of the body before which no match may start"`
	RegexMaxOffset int64    `json:"regex_max_offset" doc:"bytes of the body after which no match may start; 0: anywhere"`
	VirtualHost    string   `json:"virtualhost" doc:"Host of this request"`
	TLSCompliant   *bool    `json:"tls_compliant" doc:"as the check's; for ssl only"`
}

// Defaults are the parameters where a configuration says nothing.
func Defaults() Parameters { return Parameters{Protocol: Version11, Method: "GET"} }

// check says what is wrong with the parameters themselves.
func (p *Parameters) check() error {
	if !slices.Contains([]string{Version10, Version10Close, Version11, Version2}, p.Protocol) {
		return sdk.Errorf("/http_protocol", "must be 1.0, 1.0C, 1.1 or 2, not %q", p.Protocol)
	}
	if p.RawBody && p.Protocol == Version2 {
		return sdk.Errorf("/raw_body", "HTTP/2 has no raw body: leave it out, or ask with another http_protocol")
	}
	if !isToken(p.Method) {
		return sdk.Errorf("/method", "must be a method like GET or HEAD, not %q", p.Method)
	}
	if err := checkHost("/virtualhost", p.VirtualHost); err != nil {
		return err
	}
	for _, name := range sortedKeys(p.Headers) {
		path := "/headers/" + escapePointer(name)
		if !isToken(name) {
			return sdk.Errorf(path, "%q cannot be the name of a header", name)
		}
		if strings.EqualFold(name, "Host") {
			return sdk.Errorf(path, "the host is set with virtualhost")
		}
		if slices.ContainsFunc([]string{"Content-Length", "Transfer-Encoding", "Connection"}, func(s string) bool { return strings.EqualFold(s, name) }) {
			return sdk.Errorf(path, "%s is the checker's to say: a request has no body, and one connection", name)
		}
		if strings.IndexFunc(p.Headers[name], isControl) >= 0 {
			return sdk.Errorf(path, "must be one line without control characters")
		}
	}
	for i := range p.URLs {
		path := "/urls/" + strconv.Itoa(i)
		if err := p.URLs[i].check(path); err != nil {
			return err
		}
		if p.Protocol == Version2 {
			if _, err := neturl.ParseRequestURI(p.URLs[i].Path); err != nil || p.URLs[i].Path[0] != '/' {
				return sdk.Errorf(path+"/path", "must begin with a slash for HTTP/2 and have nothing in it that cannot stand in a URL")
			}
		}
	}
	return nil
}

func (u *URL) check(path string) error {
	if u.Path == "" {
		return sdk.Errorf(path+"/path", "is missing: say what to ask for, like /")
	}
	if i := strings.IndexFunc(u.Path, func(r rune) bool { return isControl(r) || r == ' ' }); i >= 0 {
		return sdk.Errorf(path+"/path", "has a blank or a control character at byte %d: write it as %%%02X", i, u.Path[i])
	}
	if err := checkHost(path+"/virtualhost", u.VirtualHost); err != nil {
		return err
	}
	if b, err := hex.DecodeString(u.Digest); u.Digest != "" && (err != nil || len(b) != 16) {
		return sdk.Errorf(path+"/digest", "must be an MD5 in 32 hex digits, not %q", u.Digest)
	}
	if u.RegexMinOffset < 0 {
		return sdk.Errorf(path+"/regex_min_offset", "must not be negative")
	}
	if u.RegexMaxOffset < 0 {
		return sdk.Errorf(path+"/regex_max_offset", "must not be negative")
	}
	if u.RegexMaxOffset > 0 && u.RegexMaxOffset < u.RegexMinOffset {
		return sdk.Errorf(path+"/regex_max_offset", "must not be less than regex_min_offset, %d", u.RegexMinOffset)
	}
	if u.Regex != "" {
		return nil
	}
	for _, set := range []struct {
		name string
		is   bool
	}{
		{"regex_no_match", u.RegexNoMatch}, {"regex_options", len(u.RegexOptions) > 0},
		{"regex_min_offset", u.RegexMinOffset > 0}, {"regex_max_offset", u.RegexMaxOffset > 0},
	} {
		if set.is {
			return sdk.Errorf(path+"/"+set.name, "has no meaning without a regex")
		}
	}
	return nil
}

// checkHost takes what can stand in a Host header.
func checkHost(path, host string) error {
	if strings.IndexFunc(host, func(r rune) bool { return isControl(r) || r == ' ' || r == '/' }) >= 0 {
		return sdk.Errorf(path, "must be a name or an address, perhaps with a port, not %q", host)
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// isToken is RFC 9110's token.
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) < 0
}

// statuses is a set of status codes.
type statuses struct {
	in   [lastStatus + 1]bool
	text string
}

const (
	firstStatus = 100
	lastStatus  = 599
)

func (s *statuses) has(code int) bool { return code >= 0 && code <= lastStatus && s.in[code] }

// successes is what is wanted where nothing is said, one for all.
var successes = func() *statuses {
	s := &statuses{text: "200-299"}
	for code := 200; code < 300; code++ {
		s.in[code] = true
	}
	return s
}()

func parseStatuses(path string, list []string) (*statuses, error) {
	if len(list) == 0 {
		return successes, nil
	}
	out := &statuses{}
	for i, item := range list {
		first, last, isRange := strings.Cut(item, "-")
		if !isRange {
			last = first
		}
		from, err1 := parseStatus(first)
		to, err2 := parseStatus(last)
		if err1 != nil || err2 != nil || from > to {
			return nil, sdk.Errorf(path+"/"+strconv.Itoa(i), "must be a status from %d to %d, or a range like 200-299, not %q", firstStatus, lastStatus, item)
		}
		for code := from; code <= to; code++ {
			out.in[code] = true
		}
	}
	out.text = strings.Join(list, " ")
	return out, nil
}

func parseStatus(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || n < firstStatus || n > lastStatus {
		return 0, fmt.Errorf("no status")
	}
	return n, nil
}
