package vrrp

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/handover"
	"github.com/poise-lb/poise/plugins/failover/vrrp/netio"
	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
	"github.com/poise-lb/poise/plugins/failover/vrrp/record"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

const (
	// defaultGrace is for a set that does not say how long to go on without a daemon.
	defaultGrace = 3 * time.Second
	// drainLimit bounds the packets of one socket that are read before a timer decides.
	drainLimit = 1024
)

// router owns all state. Its methods are called from the goroutine of run only.
type router struct {
	settings func() sdk.Settings
	logger   hclog.Logger
	tell     func(*failoverv1.RunResponse)
	dir      string
	boot     record.Sum

	net       *netio.Network
	announcer *netio.Announcer
	sockets   map[int]*netio.Socket
	packets   chan netio.Packet
	changes   chan netio.Change
	// listener is nil until a set was applied.
	listener *handover.Listener

	groups map[string]*group
	// began: a set was applied.
	began    bool
	grace    time.Duration
	progress uint64
	// retried is when addresses that could not be added were tried again.
	retried fsm.Time
	// lost: the daemon is gone, and graceEnd is when to give up; 0: not yet.
	lost     bool
	graceEnd fsm.Time
	stops    []stopRequest
	// stopped: nothing is done any more. gone: a successor does it.
	stopped bool
	gone    bool
}

func newRouter(settings func() sdk.Settings, report func(*failoverv1.RunResponse)) (*router, error) {
	s := settings()
	r := &router{
		settings: settings, logger: s.Logger, tell: report, dir: s.RuntimeDir, boot: bootID(),
		sockets: map[int]*netio.Socket{}, packets: make(chan netio.Packet, 256), changes: make(chan netio.Change, 256),
		groups: map[string]*group{}, grace: defaultGrace,
	}
	if r.logger == nil {
		r.logger = hclog.NewNullLogger()
	}
	var err error
	if r.announcer, err = netio.NewAnnouncer(); err != nil {
		return nil, err
	}
	if r.net, err = netio.Open(r.changes); err != nil {
		r.announcer.Close()
		return nil, err
	}
	return r, nil
}

// bootID identifies the boot of the machine; zero, if it cannot be told, is no boot's.
func bootID() (id record.Sum) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	digits, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil {
		return id
	}
	copy(id[:], digits)
	return id
}

func (r *router) close() {
	r.deafen()
	for _, socket := range r.sockets {
		socket.Close()
	}
	for _, g := range r.groups {
		for _, in := range g.instances {
			if in.file != nil {
				in.file.Close()
			}
		}
	}
	r.net.Close()
	r.announcer.Close()
}

// now is the time since boot, suspension included.
func (r *router) now() fsm.Time {
	var ts unix.Timespec
	// It cannot fail: the clock is there since Linux 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return fsm.Time(ts.Nano())
}

// run is the work loop.
func (r *router) run(ctx context.Context, sets <-chan *failoverv1.SetGroups, coreLost <-chan struct{}, stops <-chan stopRequest) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	beat := time.NewTimer(r.settings().BeatInterval)
	defer beat.Stop()
	for {
		r.sweep()
		if r.gone || r.lost && r.idle() {
			return nil
		}
		timer.Reset(r.wait())
		select {
		case set, open := <-sets:
			if !open {
				sets = nil
			} else if err := r.apply(set); err != nil {
				return err
			}
		case p := <-r.packets:
			r.receive(p)
		case c := <-r.changes:
			r.change(c)
		case <-timer.C:
			r.timers()
		case <-beat.C:
			beat.Reset(r.settings().BeatInterval)
			r.beat()
		case request := <-r.successors():
			r.handOver(request)
		case request := <-stops:
			r.stop(request)
		case <-coreLost:
			coreLost = nil
			r.lose()
		case <-ctx.Done():
			return nil
		}
	}
}

// successors are those who ask for the groups.
func (r *router) successors() <-chan *handover.Request {
	if r.listener == nil {
		return nil
	}
	return r.listener.Asked()
}

// deafen stops waiting for a successor.
func (r *router) deafen() {
	if r.listener != nil {
		r.listener.Close()
	}
}

// idle says that there is nothing to go on for without a daemon.
func (r *router) idle() bool {
	if r.stopped || len(r.groups) == 0 {
		return true
	}
	// The grace is over, and what was held is given up or never was.
	return r.graceEnd == 0 && !r.holding()
}

func (r *router) holding() bool {
	for _, g := range r.groups {
		if g.machine.Role() == fsm.Master || !g.machine.Gone() && g.machine.Leaving() {
			return true
		}
	}
	return false
}

// lose begins the time of grace.
func (r *router) lose() {
	r.lost = true
	if r.stopped || len(r.stops) > 0 || !r.began {
		r.stopped = r.stopped || !r.began
		return
	}
	r.graceEnd = r.now() + r.grace
	r.logger.Warn("the daemon is gone; going on without it", "grace", r.grace)
}

// wait is the time until something is due.
func (r *router) wait() time.Duration {
	next := r.graceEnd
	for _, g := range r.groups {
		if t := g.machine.Next(); t != 0 && (next == 0 || t < next) {
			next = t
		}
	}
	if next == 0 || r.stopped {
		return time.Hour
	}
	return max(0, next-r.now())
}

// timers does what is due, after what was sent to us before.
func (r *router) timers() {
	if r.stopped {
		return
	}
	r.drain()
	if now := r.now(); r.graceEnd != 0 && r.graceEnd <= now {
		r.graceEnd = 0
		r.logger.Warn("no new daemon within the grace time; withdrawing")
		r.withdraw("the daemon is gone")
	}
	for _, g := range r.ordered() {
		if next := g.machine.Next(); next != 0 && next <= r.now() {
			r.step(g, fsm.Timer{})
		}
	}
}

// drain takes all packets that have arrived.
func (r *router) drain() {
	for range cap(r.packets) {
		select {
		case p := <-r.packets:
			r.receive(p)
			continue
		default:
		}
		break
	}
	for _, socket := range r.sockets {
		socket.Drain(drainLimit, r.receive)
	}
}

// receive takes one packet.
func (r *router) receive(p netio.Packet) {
	if r.stopped {
		return
	}
	d, err := packet.ParseDatagram(p.Data)
	short := err == nil && len(d.Message) < 2
	for _, g := range r.groups {
		for i, in := range g.instances {
			switch {
			case in.link.Index != p.Index || err == nil && d.Source == in.source:
			case err != nil || short:
				r.refuse(g, in, d, &packet.Error{Reason: packet.Length, Detail: "it is too short to be VRRP"})
			case d.Message[1] == in.config.vrid:
				r.hear(g, i, d)
			}
		}
	}
}

// hear takes a packet of an instance's virtual router.
func (r *router) hear(g *group, i int, d packet.Datagram) {
	in := g.instances[i]
	advert, err := in.config.expect.Verify(d)
	var wrong *packet.Error
	if errors.As(err, &wrong) {
		r.refuse(g, in, d, wrong)
		if wrong.Reason != packet.Addresses {
			return
		}
	}
	in.counts.Received++
	r.step(g, fsm.Heard{Instance: i, Source: d.Source, Priority: advert.Priority})
}

func (r *router) refuse(g *group, in *instance, d packet.Datagram, err *packet.Error) {
	in.counts.Errors[string(err.Reason)]++
	from := "somebody"
	if d.Source.IsValid() {
		from = d.Source.String()
	}
	r.notice(g, in, "packet "+string(err.Reason), "packet from "+from+": "+err.Detail)
}

// stop begins to stop.
func (r *router) stop(request stopRequest) {
	if !r.began {
		request.early <- struct{}{}
		r.halt()
		return
	}
	r.stops = append(r.stops, request)
	r.graceEnd = 0
	if request.mode == pluginv1.StopMode_STOP_MODE_WITHDRAW {
		r.withdraw("stopped")
		return
	}
	r.halt()
}

func (r *router) withdraw(reason string) {
	for _, g := range r.ordered() {
		g.removed, g.next = true, nil
		r.step(g, fsm.Withdraw{Reason: reason})
	}
}

// halt ends all work and answers those who asked for it.
func (r *router) halt() {
	r.stopped = true
	r.deafen()
	for _, request := range r.stops {
		close(request.done)
	}
	r.stops = nil
}

// sweep drops the groups that have gone, and starts those that waited for it.
func (r *router) sweep() {
	for _, g := range r.ordered() {
		if !g.machine.Gone() || r.stopped {
			continue
		}
		r.forget(g)
		if g.next != nil {
			r.start(*g.next, nil)
		}
	}
	if len(r.stops) > 0 && len(r.groups) == 0 {
		r.halt()
	}
}

func (r *router) forget(g *group) {
	for _, in := range g.instances {
		if in.file != nil {
			in.file.Remove()
		}
	}
	delete(r.groups, g.config.name)
	r.closeUnused()
}

// ordered are the groups by name: what is done to several is done in the same order.
func (r *router) ordered() []*group {
	all := make([]*group, 0, len(r.groups))
	for _, g := range r.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return strings.Compare(a.config.name, b.config.name) })
	return all
}
