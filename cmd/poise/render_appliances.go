package main

import (
	"fmt"
	"strings"
	"time"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// maxForeign bounds the foreign services of an appliance that are listed by name: it may
// have thousands.
const maxForeign = 5

// members are the tables of what appliances have of virtual servers, with one set of columns.
type members struct {
	head string
	left []string
}

func newMembers(list []*controlv1.VirtualServer) *members {
	t := &table{}
	t.add("MEMBER", "STATE", "WEIGHT", "ACTIVE", "CONNECTIONS")
	for _, v := range list {
		for _, c := range v.GetCarried() {
			for _, m := range c.GetMembers() {
				t.add(m.GetName(), m.GetState(), fmt.Sprint(m.GetWeight()), fmt.Sprint(m.GetActiveConnections()), fmt.Sprint(m.GetConnections()))
			}
		}
	}
	lines := t.lines("    ")
	return &members{lines[0], lines[1:]}
}

// carried tells what the appliances have of a virtual server.
func (p *page) carried(v *controlv1.VirtualServer, appliances []*controlv1.Forwarder, m *members) {
	for _, c := range v.GetCarried() {
		name := c.GetForwarder()
		if c.GetName() != v.GetName() {
			name += " as " + c.GetName()
		}
		switch {
		case !known(appliances, c.GetForwarder()):
			p.line("  on %s: not known, it has not answered yet", name)
		case !c.GetPresent():
			p.line("  on %s: NOT THERE", name)
		default:
			p.line("  on %s: %s", name, count(c.GetConnections(), "connection"))
		}
		if n := len(c.GetMembers()); n > 0 {
			p.line("%s", m.head)
			p.lines(m.left[:n])
			m.left = m.left[n:]
		}
	}
}

// known: it has been read.
func known(appliances []*controlv1.Forwarder, name string) bool {
	for _, f := range appliances {
		if f.GetName() == name {
			return f.GetPlatform() != ""
		}
	}
	return false
}

// appliances are a line each, and what is wrong with them.
func (p *page) appliances(list []*controlv1.Forwarder, now time.Time) {
	if len(list) > 0 {
		p.section("appliances")
	}
	for _, f := range list {
		platform := f.GetPlatform()
		if platform == "" {
			platform = "has not answered yet"
		}
		state := tableState(f, now)
		if f.GetHeld() != "" {
			state = "HELD, nothing is written to it: " + f.GetHeld()
		}
		p.line("  %s: %s; %s", f.GetName(), platform, state)
		for _, e := range f.GetErrors() {
			p.line("    ERROR %s", e)
		}
		if foreign := f.GetForeignServices(); len(foreign) > 0 {
			text := strings.Join(foreign[:min(len(foreign), maxForeign)], ", ")
			if more := len(foreign) - maxForeign; more > 0 {
				text += fmt.Sprintf(" and %d more: poise diff %s", more, f.GetName())
			}
			p.line("    foreign services, left alone: %s", text)
		}
	}
}
