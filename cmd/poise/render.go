package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// renderStatus is the status for people.
func renderStatus(s *controlv1.StatusResponse, now time.Time, everyCheck bool) string {
	var p page
	p.daemon(s.GetDaemon(), now)
	for _, g := range s.GetFailoverGroups() {
		p.group(g, now)
	}
	p.virtualServers(s, now, everyCheck)
	p.forwarder(s.GetForwarder(), now)
	if len(s.GetForeignServices()) > 0 {
		p.section("foreign services, left alone: %s", strings.Join(s.GetForeignServices(), ", "))
	}
	p.appliances(s.GetAppliances(), now)
	if len(s.GetPlugins()) > 0 {
		p.section("plugins")
		t := &table{}
		t.add("NAME", "STATE", "PROCESS", "UP FOR", "VERSION", "RESTARTS", "LAST FAILURE")
		for _, x := range s.GetPlugins() {
			t.add(x.GetName(), x.GetState(), pid(x.GetPid()), upFor(x, now), x.GetVersion(), fmt.Sprint(x.GetRestarts()), x.GetLastFailure())
		}
		p.lines(t.lines("  "))
		for _, x := range s.GetPlugins() {
			p.trouble(x)
		}
	}
	return p.String()
}

// page is text that grows line by line.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) {
	p.WriteString(strings.TrimRight(clean(fmt.Sprintf(format, args...)), " "))
	p.WriteByte('\n')
}

// section begins a part with an empty line before it.
func (p *page) section(format string, args ...any) {
	p.WriteByte('\n')
	p.line(format, args...)
}

func (p *page) lines(lines []string) {
	for _, l := range lines {
		p.line("%s", l)
	}
}

func (p *page) daemon(d *controlv1.Daemon, now time.Time) {
	p.line("director %s: poised %s, process %d, up for %s", d.GetRouterId(), d.GetVersion(), d.GetPid(), since(d.GetStartedAt(), now))
	p.line("configuration %s, read %s ago", d.GetConfigFile(), since(d.GetConfigLoadedAt(), now))
	if len(d.GetReloadErrors()) > 0 {
		p.line("THE LAST RELOAD WAS REFUSED, what runs is the configuration from before:")
		for _, e := range d.GetReloadErrors() {
			p.line("  %s", e)
		}
	}
}

func (p *page) group(g *controlv1.FailoverGroup, now time.Time) {
	text := fmt.Sprintf("failover group %s: %s", g.GetName(), strings.ToUpper(g.GetRole()))
	if g.GetSince() != nil {
		text += " for " + since(g.GetSince(), now)
	}
	p.section("%s", because(text, g.GetReason()))
	t := &table{}
	t.add("INSTANCE", "INTERFACE", "ROUTER ID", "PRIORITY", "MASTER HEARD", "SENT", "RECEIVED", "ADDRESSES")
	for _, i := range g.GetInstances() {
		heard := ""
		if i.GetMasterAddress() != "" {
			heard = fmt.Sprintf("%s, priority %d", i.GetMasterAddress(), i.GetMasterPriority())
		}
		t.add(i.GetName(), i.GetInterface(), fmt.Sprint(i.GetVirtualRouterId()), fmt.Sprint(i.GetPriority()), heard,
			fmt.Sprint(i.GetAdvertsSent()), fmt.Sprint(i.GetAdvertsReceived()), strings.Join(i.GetAddresses(), " "))
	}
	p.lines(t.lines("  "))
	for _, i := range g.GetInstances() {
		for _, reason := range slices.Sorted(maps.Keys(i.GetPacketErrors())) {
			if n := i.GetPacketErrors()[reason]; n > 0 {
				p.line("  %s: %s: %s", i.GetName(), count(n, "bad packet"), reason)
			}
		}
		if n := i.GetAddressesRestored(); n > 0 {
			p.line("  %s: somebody else removed addresses, %s put back", i.GetName(), count(n, "time"))
		}
	}
}

// virtualServers have one set of columns, so that the eye finds what it looks for.
func (p *page) virtualServers(s *controlv1.StatusResponse, now time.Time, everyCheck bool) {
	list := s.GetVirtualServers()
	members := newMembers(list)
	t := &table{}
	t.add("REAL SERVER", "VERDICT", "FOR", "WEIGHT", "ACTIVE", "INACTIVE", "OVERRIDE", "WHY")
	for _, v := range list {
		for _, r := range v.GetRealServers() {
			active, inactive := fmt.Sprint(r.GetActiveConnections()), fmt.Sprint(r.GetInactiveConnections())
			if v.GetAppliancesOnly() {
				active, inactive = "", "" // the kernel has none
			}
			t.add(r.GetName(), r.GetVerdict(), since(r.GetSince(), now), weight(r), active, inactive, override(r, now), r.GetReason())
		}
	}
	lines := t.lines("  ")
	head, lines := lines[0], lines[1:]
	for _, v := range list {
		p.section("virtual server %s: %s", v.GetName(), service(v))
		if n := len(v.GetRealServers()); n > 0 {
			p.line("%s", head)
			p.lines(lines[:n])
			lines = lines[n:]
			p.checks(v, now, everyCheck)
		} else {
			p.line("  no real servers")
		}
		p.carried(v, s.GetAppliances(), members)
	}
}

func service(v *controlv1.VirtualServer) string {
	parts := []string{v.GetScheduler() + " " + v.GetMethod()}
	if v.GetQuorumUp() {
		parts = append(parts, fmt.Sprintf("quorum %d", v.GetQuorum()))
	} else {
		parts = append(parts, fmt.Sprintf("QUORUM %d LOST", v.GetQuorum()))
	}
	switch {
	case v.GetSorryActive():
		parts = append(parts, "SORRY SERVER "+v.GetSorryServer()+" SERVES")
	case v.GetSorryServer() != "":
		parts = append(parts, "sorry server "+v.GetSorryServer())
	}
	if v.GetAppliancesOnly() {
		return strings.Join(append(parts, "on appliances only"), ", ")
	}
	return strings.Join(append(parts, count(v.GetConnections(), "connection")), ", ")
}

func weight(r *controlv1.RealServer) string {
	if !r.GetInTable() {
		return "out"
	}
	return fmt.Sprint(r.GetWeight())
}

func override(r *controlv1.RealServer, now time.Time) string {
	text := r.GetOverride()
	if r.GetDrainDeadline() == nil {
		return text
	}
	if left := r.GetDrainDeadline().AsTime().Sub(now); left > 0 {
		return text + ", " + age(left) + " left"
	}
	return text + ", deadline passed"
}

func (p *page) forwarder(f *controlv1.Forwarder, now time.Time) {
	if f.GetType() == "" {
		return
	}
	platform := f.GetPlatform()
	if platform == "" {
		platform = "has not answered yet"
	}
	p.section("forwarder %s: %s", f.GetType(), platform)
	p.line("  %s", tableState(f, now))
	for _, e := range f.GetErrors() {
		p.line("  ERROR %s", e)
	}
	if f.GetConnectionSync() != "" {
		p.line("  connection sync: %s", f.GetConnectionSync())
	}
}

// tableState says whether a forwarder's table is what it should be.
func tableState(f *controlv1.Forwarder, now time.Time) string {
	state := "the table is what it should be"
	switch {
	case f.GetAppliedGeneration() != f.GetDesiredGeneration():
		state = "THE TABLE IS BEHIND"
	case len(f.GetErrors()) > 0:
		state = "THE TABLE IS NOT WHAT IT SHOULD BE"
	}
	changed := "never changed"
	if f.GetAppliedAt() != nil {
		changed = "last changed " + since(f.GetAppliedAt(), now) + " ago"
	}
	return fmt.Sprintf("%s: generation %d of %d, %s, %s of what others changed", state, f.GetAppliedGeneration(), f.GetDesiredGeneration(), changed, count(f.GetRepairs(), "repair"))
}

// trouble tells what is wrong with a plugin's work now.
func (p *page) trouble(x *controlv1.Plugin) {
	if x.GetTrouble() != "" {
		p.line("  %s: %s", x.GetName(), x.GetTrouble())
	}
	if n := x.GetProbesOverdue(); n > 0 {
		p.line("  %s: %s left out because the one before had not returned", x.GetName(), count(n, "probe"))
	}
}

// renderPlugins is the list of plugins for people.
func renderPlugins(list []*controlv1.Plugin, now time.Time) string {
	var p page
	if len(list) == 0 {
		p.line("no plugin runs: the configuration needs none")
		return p.String()
	}
	t := &table{}
	t.add("NAME", "STATE", "PROCESS", "UP FOR", "VERSION", "RESTARTS", "USER", "CAPABILITIES", "DOES", "EXECUTABLE")
	for _, x := range list {
		t.add(x.GetName(), x.GetState(), pid(x.GetPid()), upFor(x, now), x.GetVersion(), fmt.Sprint(x.GetRestarts()),
			x.GetUser(), strings.Join(x.GetCapabilities(), ","), strings.Join(x.GetKinds(), ","), x.GetPath())
	}
	p.lines(t.lines(""))
	for _, x := range list {
		if x.GetLastFailure() != "" {
			p.line("%s was last started again because: %s", x.GetName(), x.GetLastFailure())
		}
		p.trouble(x)
	}
	return p.String()
}

// upFor is empty for one that does not run.
func upFor(x *controlv1.Plugin, now time.Time) string {
	if x.GetPid() == 0 {
		return ""
	}
	return since(x.GetStartedAt(), now)
}

func because(text, reason string) string {
	if reason == "" {
		return text
	}
	return text + " (" + reason + ")"
}

func pid(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
