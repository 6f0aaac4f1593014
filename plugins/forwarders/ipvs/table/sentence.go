package table

import (
	"fmt"
	"strings"
)

// Object names what the operation works on: "TCP 192.0.2.100:80", "real server
// 192.0.2.1:80 of TCP 192.0.2.100:80", "connection sync master on eth0, id 1".
func (o Op) Object() string {
	switch o.Kind {
	case AddService, EditService, RemoveService:
		return o.Service.Key.String()
	case StartSync, StopSync:
		return "connection sync " + o.Sync.String()
	}
	return fmt.Sprintf("real server %s of %s", o.Destination.Addr, o.Service.Key)
}

// Verb says what the operation does: "add", "edit", "remove", "start", "stop".
func (o Op) Verb() string {
	switch o.Kind {
	case AddService, AddDestination:
		return "add"
	case EditService, EditDestination:
		return "edit"
	case RemoveService, RemoveDestination:
		return "remove"
	case StartSync:
		return "start"
	}
	return "stop"
}

// Repair is the sentence for people when the operation puts right what somebody else
// changed.
func (o Op) Repair() string {
	switch o.Kind {
	case AddService, AddDestination:
		return o.Object() + " was missing: added"
	case EditService:
		was, is := serviceChanges(o.WasService, o.Service)
		return fmt.Sprintf("%s had %s: set to %s", o.Object(), was, is)
	case EditDestination:
		was, is := destinationChanges(o.WasDestination, o.Destination)
		return fmt.Sprintf("%s had %s: set to %s", o.Object(), was, is)
	case RemoveService, RemoveDestination:
		return o.Object() + " was there and should not be: removed"
	case StartSync:
		return o.Object() + " was not running: started"
	}
	return o.Object() + " was running and should not: stopped"
}

// changes collects the fields in which two objects differ.
type changes struct{ was, is []string }

func (c *changes) add(name string, was, is any) {
	if was != is {
		c.was = append(c.was, fmt.Sprintf("%s %v", name, was))
		c.is = append(c.is, fmt.Sprintf("%s %v", name, is))
	}
}

func (c *changes) text() (was, is string) {
	return strings.Join(c.was, ", "), strings.Join(c.is, ", ")
}

func serviceChanges(a, b Service) (was, is string) {
	var c changes
	c.add("scheduler", a.Scheduler, b.Scheduler)
	c.add("flags", a.Flags.String(), b.Flags.String())
	c.add("persistence timeout", a.Timeout, b.Timeout)
	c.add("persistence prefix", a.Prefix, b.Prefix)
	c.add("persistence engine", fmt.Sprintf("%q", a.Engine), fmt.Sprintf("%q", b.Engine))
	return c.text()
}

func destinationChanges(a, b Destination) (was, is string) {
	var c changes
	c.add("weight", a.Weight, b.Weight)
	c.add("forwarding method", a.Method, b.Method)
	c.add("tunnel", a.Tunnel.String(), b.Tunnel.String())
	c.add("upper threshold", a.UpperThreshold, b.UpperThreshold)
	c.add("lower threshold", a.LowerThreshold, b.LowerThreshold)
	return c.text()
}

// String gives "none", or the names joined by "+".
func (f Flags) String() string {
	var names []string
	for _, n := range []struct {
		flag Flags
		name string
	}{
		{Persistent, "persistent"}, {OnePacket, "one-packet"},
		{Scheduler1, "flag-1"}, {Scheduler2, "flag-2"}, {Scheduler3, "flag-3"},
	} {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}

// String gives "ipip", "gue port 6080 csum".
func (t Tunnel) String() string {
	s := t.Type.String()
	if t.Port != 0 {
		s += fmt.Sprintf(" port %d", t.Port)
	}
	switch t.Checksum {
	case ChecksumNone:
	case ChecksumFull:
		s += " csum"
	case ChecksumRemote:
		s += " remcsum"
	default:
		s += fmt.Sprintf(" checksum %d", t.Checksum)
	}
	return s
}
