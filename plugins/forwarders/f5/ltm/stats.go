package ltm

import (
	"encoding/json"
	"net/url"
	"strings"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// Stats are counters as read.
type Stats struct {
	// Virtuals by full path.
	Virtuals map[string]*forwardv1.Counters
	// Members by full path of the pool and of the member.
	Members map[string]map[string]*forwardv1.Counters
}

// VirtualStats takes in the answer to GET /mgmt/tm/ltm/virtual/stats.
func (s *Stats) VirtualStats(body []byte) error {
	if s.Virtuals == nil {
		s.Virtuals = map[string]*forwardv1.Counters{}
	}
	return eachStats(body, "virtual", func(key string, e entries) {
		path := e.text("tmName")
		if path == "" {
			path = after(key, "/virtual/")
		}
		if path != "" {
			s.Virtuals[path] = e.counters("clientside.")
		}
	})
}

// MemberStats takes in the answer to GET /mgmt/tm/ltm/pool/~P~pool/members/stats.
func (s *Stats) MemberStats(pool string, body []byte) error {
	if s.Members == nil {
		s.Members = map[string]map[string]*forwardv1.Counters{}
	}
	members := map[string]*forwardv1.Counters{}
	err := eachStats(body, "members", func(key string, e entries) {
		path := after(key, "/members/")
		if node := e.text("nodeName"); path == "" && node != "" {
			path = withPort(node, uint16(e.number("port")))
		}
		if path == "" {
			return
		}
		c := e.counters("serverside.")
		c.ActiveConnections = uint32(min(e.number("serverside.curConns"), 1<<32-1))
		members[path] = c
	})
	s.Members[pool] = members
	return err
}

// entries are the leaves of one object's statistics.
type entries map[string]struct {
	Value       json.Number `json:"value"`
	Description string      `json:"description"`
}

func (e entries) text(key string) string { return e[key].Description }

func (e entries) number(key string) uint64 {
	n, err := e[key].Value.Float64()
	if err != nil || n < 0 || n >= 1<<63 {
		return 0
	}
	return uint64(n)
}

func (e entries) counters(side string) *forwardv1.Counters {
	return &forwardv1.Counters{
		Connections: e.number(side + "totConns"), PacketsIn: e.number(side + "pktsIn"), PacketsOut: e.number(side + "pktsOut"),
		BytesIn: e.number(side+"bitsIn") / 8, BytesOut: e.number(side+"bitsOut") / 8,
	}
}

// eachStats calls found for every object in a body of statistics.
func eachStats(body []byte, what string, found func(key string, e entries)) error {
	top, err := newObject(body, what+" stats")
	if err != nil {
		return err
	}
	for key, raw := range top.child("entries").keys {
		o, err := newObject(raw, what+" stats: "+key)
		if err != nil {
			return err
		}
		nested := o.child("nestedStats")
		var e entries
		if raw, ok := nested.keys["entries"]; ok {
			if json.Unmarshal(raw, &e) != nil {
				nested.fail("entries", "an object of values and descriptions")
			}
		}
		if *o.err != nil {
			return *o.err
		}
		found(key, e)
	}
	return *top.err
}

// after is the full path that a key names behind a part of it. Keys are URLs whose ends
// differ between versions: ".../~P~web", ".../~P~web/stats", ".../~P~web/~P~web/stats".
func after(key, marker string) string {
	at := strings.LastIndex(key, marker)
	if at < 0 {
		return ""
	}
	segment, _, _ := strings.Cut(key[at+len(marker):], "/")
	segment, _, _ = strings.Cut(segment, "?")
	if !strings.HasPrefix(segment, "~") {
		return ""
	}
	path, err := url.PathUnescape(segment)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(path, "~", "/")
}
