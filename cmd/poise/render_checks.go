package main

import (
	"strings"
	"time"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// remarkable bounds how many checks of a virtual server are told of that nobody asked for.
const remarkable = 10

// checks tells of the checks of a virtual server: of every one, or of those that do more
// than say up or down, or cannot.
func (p *page) checks(v *controlv1.VirtualServer, now time.Time, every bool) {
	t := &table{}
	t.add("REAL SERVER", "CHECK", "VERDICT", "FOR", "WEIGHT", "ASKS FOR", "WHY")
	left := 0
	for _, r := range v.GetRealServers() {
		for _, c := range r.GetChecks() {
			remark := checkRemark(c, now)
			if !every && remark == "" && c.GetWeight() == "" && c.GetAdmin() == "" {
				continue
			}
			if !every && len(t.rows) > remarkable {
				left++
				continue
			}
			why := c.GetReason()
			if remark != "" && why != "" {
				why += "; "
			}
			t.add(r.GetName(), strings.TrimSpace(c.GetType()+" "+c.GetTarget()), c.GetVerdict(), since(c.GetSince(), now), c.GetWeight(), c.GetAdmin(), why+remark)
		}
	}
	if len(t.rows) == 1 {
		return
	}
	p.line("  checks")
	p.lines(t.lines("    "))
	if left > 0 {
		p.line("    and %s more: poise status -v", count(uint64(left), "check"))
	}
}

// checkRemark says why nothing new is learned from a check.
func checkRemark(c *controlv1.Check, now time.Time) string {
	switch {
	case c.GetRejected() != "":
		return "CANNOT BE CARRIED OUT: " + c.GetRejected()
	case c.GetStaleSince() != nil:
		return "NO FRESH PROBE FOR " + since(c.GetStaleSince(), now) + ", because of plugin " + c.GetPlugin()
	}
	return ""
}
