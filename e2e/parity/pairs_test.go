package parity

import (
	"slices"
	"testing"
)

// TestBriefPairs plays some of each checker's cases side by side: what make test has the
// time for. The other tests play all of them.
func TestBriefPairs(t *testing.T) {
	play(t, tcp.only("down, up", "flapping"), ping.only("IPv6: silence, flapping"), udp.only("down, up"), dns.only("flapping"),
		smtp.only("wrong greeting"), web.only("flapping", "redirect loop", "1 byte a second: body"),
		secure.only("down, up", "expired certificate"), miscs.only("flapping", "cannot run: no such file"))
}

// only are the cases of these names.
func (s Set) only(names ...string) Set {
	s.Cases = slices.DeleteFunc(slices.Clone(s.Cases), func(c Case) bool { return !slices.Contains(names, c.Name) })
	if len(s.Cases) != len(names) {
		panic(s.Checker + " has not all of these cases")
	}
	return s
}

func TestStreamPairs(t *testing.T)   { play(t, tcp, ping) }
func TestDatagramPairs(t *testing.T) { play(t, udp, dns) }
func TestMailPairs(t *testing.T)     { play(t, smtp) }
func TestWebPairs(t *testing.T)      { play(t, web) }
func TestSecurePairs(t *testing.T)   { play(t, secure) }
func TestScriptPairs(t *testing.T)   { newStage(t).play(8, miscs) }
