package forwarder

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// Difference is one thing of a forwarder that is not as it should be.
type Difference struct {
	// Object is the virtual server, or the real server with it.
	Object string
	Kind   Kind
	// Desired and Actual are for people; empty where there is nothing.
	Desired, Actual string
}

// Kind says how something differs.
type Kind string

// Kinds. Foreign is there, not ours, and stays.
const (
	Missing   Kind = "missing"
	Different Kind = "different"
	Foreign   Kind = "foreign"
)

// Compare gives what differs between what should be and what is, in the order of what
// should be, foreign services last. members says that the forwarder keeps real servers
// that are down. One that is down and not there is no difference: no client gets to it
// either way, and a forwarder may have been told to keep it nowhere. marks says that it
// knows what is ours: something of others' in the place of what should be is none of ours,
// and what is ours and not wanted should go.
func Compare(want, is []model.Service, members, marks bool) []Difference {
	actual := make(map[model.ServiceKey]*model.Service, len(is))
	for i := range is {
		actual[is[i].Key] = &is[i]
	}
	var out []Difference
	for i := range want {
		w := &want[i]
		a, ok := actual[w.Key]
		delete(actual, w.Key)
		if !ok {
			out = append(out, Difference{w.Key.String(), Missing, describeService(w), ""})
			continue
		}
		if a.Foreign {
			out = append(out, Difference{w.Key.String(), Missing, describeService(w), "somebody else's: " + describeService(a)})
			continue
		}
		if d, h := describeService(w), describeService(a); d != h {
			out = append(out, Difference{w.Key.String(), Different, d, h})
		}
		out = append(out, compareMembers(w, a, members)...)
	}
	for i := range is {
		if _, left := actual[is[i].Key]; !left {
			continue
		}
		if marks && !is[i].Foreign {
			out = append(out, Difference{is[i].Key.String(), Different, "", "ours: " + describeService(&is[i])})
		} else {
			out = append(out, Difference{is[i].Key.String(), Foreign, "", describeService(&is[i])})
		}
	}
	return out
}

func compareMembers(want, is *model.Service, members bool) []Difference {
	wanted := want.Destinations
	if members {
		wanted = slices.Concat(want.Destinations, want.Spare)
	}
	found := make(map[netip.AddrPort]*model.Destination, len(is.Destinations))
	for i := range is.Destinations {
		found[is.Destinations[i].Addr] = &is.Destinations[i]
	}
	var out []Difference
	describe := func(d *model.Destination) string { return describeMember(d, members) }
	name := func(a netip.AddrPort) string { return model.RealServerKey{Service: want.Key, Addr: a}.String() }
	for i := range wanted {
		w := &wanted[i]
		a := found[w.Addr]
		delete(found, w.Addr)
		switch {
		case a == nil && w.Offline:
		case a == nil:
			out = append(out, Difference{name(w.Addr), Missing, describe(w), ""})
		case describe(w) != describe(a):
			out = append(out, Difference{name(w.Addr), Different, describe(w), describe(a)})
		}
	}
	for i := range is.Destinations {
		if d := &is.Destinations[i]; found[d.Addr] != nil {
			out = append(out, Difference{name(d.Addr), Different, "", describe(d)})
		}
	}
	return out
}

func describeService(s *model.Service) string {
	parts := []string{strings.Join(append([]string{s.Scheduler}, s.SchedulerFlags...), " ")}
	if s.Persistence.Timeout > 0 {
		text := fmt.Sprintf("persistence %s", s.Persistence.Timeout.Round(time.Second))
		if s.Persistence.Prefix > 0 {
			text += fmt.Sprintf("/%d", s.Persistence.Prefix)
		}
		if s.Persistence.Engine != "" {
			text += " " + s.Persistence.Engine
		}
		parts = append(parts, text)
	}
	if s.OnePacket {
		parts = append(parts, "one packet")
	}
	return strings.Join(parts, ", ")
}

// describeMember says what a forwarder has of a real server; only one that keeps members
// knows which of them are offline and which is the sorry server.
func describeMember(d *model.Destination, members bool) string {
	parts := []string{fmt.Sprintf("weight %d", d.Weight), d.Forwarding.Method.String()}
	if t := d.Forwarding.Tunnel; d.Forwarding.Method == model.TUN && t.Type != "" {
		parts[1] += " " + t.Type
		if t.Port > 0 {
			parts[1] += fmt.Sprintf(" port %d", t.Port)
		}
		if t.Checksum != "" {
			parts[1] += " " + t.Checksum
		}
	}
	if d.UpperThreshold > 0 {
		parts = append(parts, fmt.Sprintf("limit %d", d.UpperThreshold))
	}
	switch {
	case members && d.Offline:
		// What it weighs says nothing while it is offline.
		parts[0] = "offline"
	case members && d.Sorry:
		parts[0] = "sorry server"
	}
	return strings.Join(parts, ", ")
}
