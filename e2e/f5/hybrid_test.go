package f5

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOneSetOfChecks: a virtual server on the director and on the BIG-IP is probed once.
func TestOneSetOfChecks(t *testing.T) {
	s := newScene(t)
	s.check, s.schedule = "http", "interval: 200ms, timeout: 1s, retries: 0, warmup: 0s"
	s.both()
	before, begun := s.reals[0].probes.Load(), time.Now()
	time.Sleep(3 * time.Second)
	got, due := s.reals[0].probes.Load()-before, int64(time.Since(begun)/(200*time.Millisecond))
	// A busy machine makes probes late, and none more of them.
	if got > due+2 || got < due/2 {
		t.Errorf("%d probes while %d intervals have passed", got, due)
	}
}

// TestLeavesAndComesBack: what poise made outlives poised, to the byte, and a new poised
// changes nothing. An instance that is not configured any more loses all that poise made
// there, and nothing else.
func TestLeavesAndComesBack(t *testing.T) {
	s := newScene(t)
	empty := text(t, made(t, s.unit))
	s.both()
	before := s.unit.Dump()
	s.stop()
	if got := s.unit.Dump(); !bytes.Equal(got, before) {
		t.Errorf("stopping poised has changed the BIG-IP:\n%s\nwant\n%s", got, before)
	}
	if n := s.unit.Tokens("poise"); n != 0 {
		t.Errorf("%d tokens are left by a poised that was stopped", n)
	}

	s.unit.ClearRequests()
	s.start()
	waitFor(t, "a new poised has settled", s.settled)
	time.Sleep(time.Second)
	for _, r := range s.unit.Requests() {
		if r.Write() && strings.HasPrefix(r.Kind, "ltm/") {
			t.Errorf("a new poised wrote what was there: %s %s %s", r.Method, r.Path, r.Body)
		}
	}

	s.reload(s.head("") + "virtual_servers:\n" + s.service(onDirector+":80", `"null"`, ""))
	waitFor(t, "what the BIG-IP carried is gone", func() bool { return text(t, made(t, s.unit)) == empty })
	s.reload(s.hybrid())
	waitFor(t, "the BIG-IP carries it again", func() bool { return s.settled() && s.enabled(pool, 0) })
	yaml := s.head("")
	s.reload(yaml[:strings.Index(yaml, "forwarders:")] + "virtual_servers:\n" + s.service(onDirector+":80", `"null"`, ""))
	waitFor(t, "what the instance had is gone, and its process", func() bool {
		return text(t, made(t, s.unit)) == empty && s.plugin() == nil
	})
	if out, code := s.poise("diff"); code != 0 || !strings.Contains(out, "null: as it should be") {
		t.Errorf("poise diff without the instance: exit status %d\n%s", code, out)
	}
}

// TestOfflineIsAdopted: a real server that is forced offline on the BIG-IP when poised starts
// stays so until its first probe has succeeded, and one that takes connections goes on.
func TestOfflineIsAdopted(t *testing.T) {
	s := newScene(t)
	// Of a tcp check's connections a listener may never hear.
	s.check = "http"
	yaml := func() string {
		return s.head("") + "virtual_servers:\n" + s.service(onBigIP+":80", "f5:lab", "")
	}
	s.configure(yaml())
	s.start()
	waitFor(t, "the virtual server is on the BIG-IP", func() bool { return s.settled() && s.enabled(pool, 0) && s.enabled(pool, 1) })
	s.reals[0].down()
	waitFor(t, "the real server is offline", func() bool { return s.offline(pool, 0) })
	s.stop()

	s.schedule = "interval: 3s, timeout: 1s, retries: 0, warmup: 3s"
	s.configure(yaml())
	s.reals[0].up()
	s.reals[0].first.Store(0)
	s.unit.ClearRequests()
	s.start()
	waitFor(t, "the real server is back", func() bool { return s.enabled(pool, 0) })
	probed := time.Unix(0, s.reals[0].first.Load())
	writes := 0
	for _, r := range s.unit.Requests() {
		if !r.Write() || !strings.HasPrefix(r.Kind, "ltm/") {
			continue
		}
		writes++
		if s.reals[0].first.Load() == 0 || r.Time.Before(probed) {
			t.Errorf("before the first probe (%s) something was written at %s: %s %s %s", probed, r.Time, r.Method, r.Path, r.Body)
		}
	}
	if writes == 0 {
		t.Error("no write was seen: nothing is shown")
	}
}

// TestDiffTells: exit status and words of poise diff.
func TestDiffTells(t *testing.T) {
	s := newScene(t)
	s.both()
	said := func(code int, words ...string) {
		t.Helper()
		// A table is read again some time after it was changed.
		waitFor(t, fmt.Sprintf("poise diff ends with %d and says %q", code, words), func() bool {
			out, got := s.poise("diff")
			return got == code && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) })
		})
	}
	said(0, "null: as it should be", "f5:lab: as it should be, 1 foreign left alone", "foreign", "TCP 198.18.0.4:80")

	// What cannot be put right stays.
	f := s.unit.Fault(readOnly)
	s.reals[0].down()
	waitFor(t, "the BIG-IP refuses what poise wants", func() bool { return f.Hits() > 0 })
	said(1, "null: as it should be", "f5:lab: 1 DIFFERENCE", "different", serviceOnBigIP+" 10.0.0.1:80", "offline")
	f.Clear()
	waitFor(t, "the BIG-IP has it", func() bool { return s.settled() && s.offline(pool, 0) })
	said(0, "f5:lab: as it should be")

	if out, code := s.poise("diff", "f5:leb"); code != 2 || !strings.Contains(out, "there is no forwarder f5:leb") {
		t.Errorf("poise diff of an instance that is not there: exit status %d\n%s", code, out)
	}
	s.stop()
	if out, code := s.poise("diff"); code != 2 {
		t.Errorf("poise diff without poised: exit status %d\n%s", code, out)
	}
}
