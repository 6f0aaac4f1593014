package e2e

import (
	"regexp"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// complaint is what keepalived writes about a packet that it does not like.
var complaint = regexp.MustCompile(`(?im)^.*(checksum|authenti|passw|mismatch|bogus|invalid|incorrect|wrong).*$`)

// TestPeerKeepalived has keepalived as the other director, both ways round: one master
// at a time, take-over in both directions, no complaints.
func TestPeerKeepalived(t *testing.T) {
	for _, x := range []struct {
		name string
		a, b lab.Daemon
	}{{"poised is preferred", lab.Poised, lab.Keepalived}, {"keepalived is preferred", lab.Keepalived, lab.Poised}} {
		t.Run(x.name, func(t *testing.T) {
			s := pair(t, lab.DR, x.a, x.b)
			load := s.load()
			stopped := time.Now()
			s.A.Stop()
			s.B.WaitVIP(3*time.Second, true)
			requests(t, load, 50)
			s.reigns(stopped, s.reignsAfter(stopped, "b")...)
			if x.a == lab.Poised {
				s.handover(load, stopped, "poised was stopped, keepalived takes over")
			}

			back := time.Now()
			s.A.Start()
			s.A.WaitVIP(settle, true)
			s.B.WaitVIP(2*time.Second, false)
			requests(t, load, 50)
			s.reigns(back, "b", "a")
			s.handover(load, back, string(x.a)+" took its role back")

			s.A.Kill9()
			s.Cut(s.Lab.A)
			lost := time.Now()
			s.B.WaitVIP(3*advert+skewB+time.Second, true)
			requests(t, load, 50)
			took, ok := load.Settled().Back(lost)
			if limit := 3*advert + skewB + 500*time.Millisecond; !ok || took > limit {
				t.Errorf("%s was lost: service is back after %v (%v), want %v at most", x.a, took, ok, limit)
			}
			s.complaints()
		})
	}
}

// complaints fails the test if a director has refused a packet of the other.
func (s *scene) complaints() {
	s.t.Helper()
	for _, d := range []*lab.Director{s.A, s.B} {
		if d.Daemon == lab.Keepalived {
			for _, line := range complaint.FindAllString(d.Log(), -1) {
				s.t.Errorf("keepalived on %s complains: %s", d.Name, line)
			}
			continue
		}
		if !d.Running() {
			continue
		}
		for _, g := range d.Status().GetFailoverGroups() {
			for _, i := range g.GetInstances() {
				if len(i.GetPacketErrors()) > 0 {
					s.t.Errorf("poised on %s has refused packets: %v", d.Name, i.GetPacketErrors())
				}
			}
		}
	}
}
