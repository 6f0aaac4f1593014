package bigip

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// States of a unit in its pair, as failoverState has them.
const (
	Active  = "active"
	Standby = "standby"
	Offline = "forced-offline"
)

// PairOptions of a pair. Name of Options is that of the first unit.
type PairOptions struct {
	Options
	// PeerName is the host name of the second unit. Default: bigip-b.example.net.
	PeerName string
	// Group is the device group. Default: failover-group.
	Group string
	// AutoSync: a change reaches the other unit by itself.
	AutoSync bool
	// SaveOnAutoSync: what autoSync brings over is saved.
	SaveOnAutoSync bool
	// SyncDelay is how long a config-sync takes by the clock, and how long a change waits
	// for autoSync.
	SyncDelay time.Duration
	// Initial: nobody has pushed a configuration yet.
	Initial bool
}

// Pair is two units of a device group. A is active at first. They have a clock and a
// certificate authority in common, and nothing else: each has its own configuration,
// users' tokens, transactions, faults and log.
type Pair struct {
	A, B *Unit

	group   string
	delay   time.Duration
	initial bool
	apart   bool
	job     *job
}

// job is a config-sync that was started and is not done.
type job struct {
	from *Unit
	due  time.Time
	auto bool
}

// NewPair is two units in sync, both with the partitions of the options.
func NewPair(options PairOptions) *Pair {
	if options.Clock == nil {
		options.Clock = &Clock{}
	}
	if options.PeerName == "" {
		options.PeerName = "bigip-b.example.net"
	}
	if options.Group == "" {
		options.Group = "failover-group"
	}
	mu, ca := &sync.Mutex{}, newAuthority()
	a := newUnit(options.Options, mu, ca)
	peer := options.Options
	peer.Name = options.PeerName
	b := newUnit(peer, mu, ca)
	b.failover = Standby
	body := map[string]any{"name": options.Group, "type": "sync-failover"}
	if options.AutoSync {
		body["autoSync"] = "enabled"
	}
	if options.SaveOnAutoSync {
		body["saveOnAutoSync"] = "true"
	}
	p := &Pair{A: a, B: b, group: options.Group, delay: options.SyncDelay, initial: options.Initial}
	for _, u := range p.Units() {
		u.must("cm/device-group", "", body)
		u.saved, u.pair = u.store.Config, p
	}
	return p
}

// Units is A and B.
func (p *Pair) Units() []*Unit { return []*Unit{p.A, p.B} }

// Start serves both units, each on a free port of 127.0.0.1.
func (p *Pair) Start() error {
	for _, u := range p.Units() {
		if err := u.Start(""); err != nil {
			return errors.Join(err, p.Close())
		}
	}
	return nil
}

// Close stops both.
func (p *Pair) Close() error { return errors.Join(p.A.Close(), p.B.Close()) }

// Clock is the clock of both units.
func (p *Pair) Clock() *Clock { return p.A.clock }

// CA is the certificate, in PEM, that signed both.
func (p *Pair) CA() []byte { return p.A.CA() }

// SetActive makes these units active and the others standby: one, none or both.
func (p *Pair) SetActive(units ...*Unit) {
	p.A.mu.Lock()
	defer p.A.mu.Unlock()
	for _, u := range p.Units() {
		u.failover = Standby
		for _, active := range units {
			if u == active {
				u.failover = Active
			}
		}
	}
}

// SetFailoverState gives a unit any state: Active, Standby, Offline.
func (u *Unit) SetFailoverState(state string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failover = state
}

// FailoverState is what the unit says of itself.
func (u *Unit) FailoverState() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failover
}

// SwitchOver makes the active unit standby and the other one active.
func (p *Pair) SwitchOver() {
	p.A.mu.Lock()
	defer p.A.mu.Unlock()
	p.A.switchOver()
}

func (u *Unit) switchOver() {
	for _, d := range u.units() {
		switch d.failover {
		case Active:
			d.failover = Standby
		case Standby:
			d.failover = Active
		}
	}
}

// Disconnect parts the units from each other, or joins them again. Clients still reach
// both.
func (p *Pair) Disconnect(apart bool) {
	p.A.mu.Lock()
	defer p.A.mu.Unlock()
	p.settle()
	p.apart = apart
}

// SetSyncDelay changes how long a config-sync takes. One that runs is not affected.
func (p *Pair) SetSyncDelay(d time.Duration) {
	p.A.mu.Lock()
	defer p.A.mu.Unlock()
	p.delay = d
}

// InSync tells whether both units have the same configuration and know it.
func (p *Pair) InSync() bool {
	p.A.mu.Lock()
	defer p.A.mu.Unlock()
	p.settle()
	status, _, _ := p.status()
	return status == "In Sync"
}

// Pending tells whether the unit has changes that its peer has not.
func (u *Unit) Pending() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settle()
	return u.pair != nil && u.changed
}

func (p *Pair) peer(u *Unit) *Unit {
	if u == p.A {
		return p.B
	}
	return p.A
}

func (p *Pair) setting(name string) string {
	group := p.A.store.Config.Get("cm/device-group", "", "/Common/"+p.group)
	if group == nil {
		return ""
	}
	text, _ := group.Values[name].(string)
	return text
}

// change is told of every change of a unit.
func (p *Pair) change(u *Unit) {
	if p.setting("autoSync") == "enabled" && p.job == nil && !p.initial {
		p.job = &job{from: u, due: p.A.clock.Now().Add(p.delay), auto: true}
	}
}

// settle does the config-sync that is due. What the other unit changed meanwhile is lost.
func (p *Pair) settle() {
	if p.job == nil || p.apart || p.A.clock.Now().Before(p.job.due) {
		return
	}
	from := p.job.from
	to := p.peer(from)
	to.store.Copy(from.store.Config)
	p.A.changed, p.B.changed, p.initial = false, false, false
	if p.job.auto && p.setting("saveOnAutoSync") == "true" {
		from.save()
		to.save()
	}
	p.job = nil
}

// status is the words, the colour and the details of the sync status.
func (p *Pair) status() (status, color string, details []string) {
	a, b := p.A.options.Name, p.B.options.Name
	conflict := fmt.Sprintf("%s (Changes Pending): There is a possible change conflict between %s and %s.", p.group, a, b)
	advice := func(u *Unit) string {
		return fmt.Sprintf(" - Recommended action: Synchronize %s to group %s", u.options.Name, p.group)
	}
	switch {
	case p.apart:
		return "Disconnected", "red", []string{b + ": disconnected"}
	case p.initial && p.job == nil:
		return "Awaiting Initial Sync", "blue", []string{
			fmt.Sprintf("%s (Awaiting Initial Sync): One or more devices awaiting initial config sync", p.group),
			" - Recommended action: Synchronize one of the devices to group " + p.group,
		}
	case p.job != nil && !p.job.auto:
		return "Not All Devices Synced", "yellow", []string{p.group + " (Not All Devices Synced): not all devices have the latest configuration"}
	case p.A.changed && p.B.changed:
		return "Changes Pending", "red", []string{conflict, advice(p.A), advice(p.B)}
	case p.A.changed || p.B.changed:
		u := p.A
		if p.B.changed {
			u = p.B
		}
		return "Changes Pending", "yellow", []string{
			fmt.Sprintf("%s (Changes Pending): One or more devices have changes pending", p.group), advice(u),
		}
	}
	return "In Sync", "green", []string{p.group + " (In Sync): All devices in the device group are in sync"}
}

func (u *Unit) syncStatus() *reply {
	if u.pair == nil {
		return u.nested("tm:cm:sync-status:sync-statusstats", "cm/sync-status", map[string]any{
			"color": described("green"), "mode": described("standalone"), "status": described("Standalone"), "summary": described(" "),
			"https://localhost/mgmt/tm/cm/syncStatus/0/details": syncDetails([]string{"Optional action: Add a device to the trust domain"}),
		})
	}
	status, color, details := u.pair.status()
	if !u.pair.apart {
		details = append([]string{u.pair.peer(u).options.Name + ": connected"}, details...)
	}
	return u.nested("tm:cm:sync-status:sync-statusstats", "cm/sync-status", map[string]any{
		"color": described(color), "mode": described("high-availability"), "status": described(status),
		"summary": described(strings.TrimSpace(details[len(details)-1])), "https://localhost/mgmt/tm/cm/syncStatus/0/details": syncDetails(details),
	})
}

func syncDetails(lines []string) map[string]any {
	entries := map[string]any{}
	for i, line := range lines {
		entries[fmt.Sprintf("https://localhost/mgmt/tm/cm/syncStatus/0/details/%d", i)] = map[string]any{
			"nestedStats": map[string]any{"entries": map[string]any{"details": described(line)}},
		}
	}
	return map[string]any{"nestedStats": map[string]any{"entries": entries}}
}

// syncCommand is POST of /mgmt/tm/cm: config-sync [force-full-load-push] to-group G.
func (u *Unit) syncCommand(c *call) *reply {
	text, _ := c.body["utilCmdArgs"].(string)
	if c.body["command"] != "run" || len(c.body) != 2 {
		return tmError(http.StatusBadRequest, state.APIProperty, fmt.Sprintf("invalid property value \"command\":%q", c.body["command"]))
	}
	words := strings.Fields(text)
	words = without(words, "force-full-load-push")
	if len(words) != 3 || words[0] != "config-sync" {
		return tmError(http.StatusBadRequest, state.APIProperty, fmt.Sprintf("invalid property value \"utilCmdArgs\":%q", text))
	}
	if err := u.sync(words[1], words[2]); err != nil {
		return refusal(err)
	}
	return ok(map[string]any{"kind": "tm:cm:runstate", "command": "run", "utilCmdArgs": text})
}

func without(words []string, word string) []string {
	var out []string
	for _, w := range words {
		if w != word {
			out = append(out, w)
		}
	}
	return out
}

// sync starts a config-sync. It is done when the pair settles.
func (u *Unit) sync(direction, group string) *state.Error {
	bad := func(format string, args ...any) *state.Error {
		return &state.Error{HTTP: http.StatusBadRequest, API: 3, Message: fmt.Sprintf(format, args...)}
	}
	p := u.pair
	if p == nil || strings.TrimPrefix(group, "/Common/") != p.group {
		return bad("01070734:3: Configuration error: Device group (%s) not found in device group sync", group)
	}
	from := u
	switch direction {
	case "to-group":
	case "from-group":
		if p.initial {
			return bad("01070734:3: Configuration error: config-sync from-group %s is not allowed until a push has been done first", group)
		}
		from = p.peer(u)
	default:
		return bad("01070734:3: Configuration error: config-sync has no direction %q", direction)
	}
	if p.apart {
		return bad("01070734:3: Configuration error: no device of group %s can be reached", group)
	}
	p.job = &job{from: from, due: p.A.clock.Now().Add(p.delay)}
	return nil
}
