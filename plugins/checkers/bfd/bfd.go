package bfd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/poise-lb/poise/plugins/checkers/bfd/packet"
	"github.com/poise-lb/poise/plugins/checkers/bfd/session"
	"github.com/poise-lb/poise/plugins/checkers/bfd/speaker"
	"github.com/poise-lb/poise/sdk"
)

// Type is the checker's name in configurations.
const Type = "bfd"

const (
	// tryAgain is how soon a session that cannot be run here is tried again.
	tryAgain = time.Second
	// longestInterval bounds what goes into 32 bits of microseconds.
	longestInterval = 1000 * time.Second
	// slowest is how fast RFC 5880 lets a session speak that is not up.
	slowest = time.Second
)

type checker struct{ speaker *speaker.Speaker }

// New makes the checker.
func New() sdk.Checker { return checker{&speaker.Speaker{}} }

// parameters of a check.
type parameters struct {
	MinRx      sdk.Duration `json:"min_rx" doc:"Least time between packets that the neighbor may send."`
	MinTx      sdk.Duration `json:"min_tx" doc:"Time between packets to the neighbor while the session is up; the neighbor may ask for more."`
	IdleTx     sdk.Duration `json:"idle_tx" doc:"Time between packets while the session is not up."`
	Multiplier int          `json:"multiplier" doc:"So many missed packets of ours the neighbor takes for a failure; 1 to 255."`
	Passive    bool         `json:"passive" doc:"Wait for the neighbor to speak first."`
	TTL        int          `json:"ttl" doc:"TTL or hop limit of packets to the neighbor; 1 to 255."`
	MaxHops    *int         `json:"max_hops" doc:"How much less than 255 the TTL of the neighbor's packets may be; -1 or 255: anything. Default 0, with multihop 255."`
	Multihop   bool         `json:"multihop" doc:"The neighbor is not on a link of this machine: port 4784 (RFC 5883)."`
}

func defaults() parameters {
	return parameters{
		MinRx: sdk.Duration(10 * time.Millisecond), MinTx: sdk.Duration(10 * time.Millisecond), IdleTx: sdk.Duration(time.Second),
		Multiplier: 5, TTL: 255,
	}
}

func parse(raw json.RawMessage) (parameters, error) {
	p := defaults()
	if err := sdk.Decode(raw, &p); err != nil {
		return p, err
	}
	for _, t := range []struct {
		path  string
		value sdk.Duration
	}{{"/min_rx", p.MinRx}, {"/min_tx", p.MinTx}, {"/idle_tx", p.IdleTx}} {
		if d := time.Duration(t.value); d < time.Microsecond || d > longestInterval {
			return p, sdk.Errorf(t.path, "%s is not between %s and %s", d, time.Microsecond, longestInterval)
		}
	}
	switch {
	case p.Multiplier < 1 || p.Multiplier > 255:
		return p, sdk.Errorf("/multiplier", "%d is not between 1 and 255", p.Multiplier)
	case p.TTL < 1 || p.TTL > 255:
		return p, sdk.Errorf("/ttl", "%d is not between 1 and 255", p.TTL)
	case p.MaxHops != nil && (*p.MaxHops < -1 || *p.MaxHops > 255):
		return p, sdk.Errorf("/max_hops", "%d is not between -1 and 255", *p.MaxHops)
	}
	return p, nil
}

// Parse reads the parameters.
func (c checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return &prober{parameters: p, speaker: c.speaker}, nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

// Validate warns of an interval that the standard does not allow.
func (checker) Validate(raw json.RawMessage) []sdk.Problem {
	p, err := parse(raw)
	var wrong *sdk.ParameterError
	switch {
	case errors.As(err, &wrong):
		return []sdk.Problem{{Path: wrong.Path, Message: wrong.Message}}
	case err != nil:
		return []sdk.Problem{{Message: err.Error()}}
	case time.Duration(p.IdleTx) < slowest:
		return []sdk.Problem{{Path: "/idle_tx", Message: fmt.Sprintf("%s is less than 1s, the least that RFC 5880 allows", time.Duration(p.IdleTx)), Warning: true}}
	}
	return nil
}

type prober struct {
	parameters
	speaker *speaker.Speaker
}

// peer is the session with a target.
func (p *prober) peer(t sdk.Target) (speaker.Peer, error) {
	if !t.Addr.Addr().IsValid() {
		return speaker.Peer{}, errors.New("there is no address of a neighbor")
	}
	out := speaker.Peer{
		Neighbor: t.Addr.Addr(), Source: t.Source.Addr(), Interface: t.Interface, FWMark: t.FWMark, Multihop: p.Multihop, TTL: p.TTL,
		Session: session.Config{
			MinRx: micros(p.MinRx), MinTx: micros(p.MinTx), IdleTx: micros(p.IdleTx), Multiplier: uint8(p.Multiplier), Passive: p.Passive,
		},
	}
	if zone := out.Neighbor.Zone(); zone != "" {
		if out.Interface == "" {
			out.Interface = zone
		}
		out.Neighbor = out.Neighbor.WithZone("")
	}
	switch {
	case p.MaxHops != nil && *p.MaxHops >= 0:
		out.MaxHops = *p.MaxHops
	case p.MaxHops != nil || p.Multihop:
		out.MaxHops = 255
	}
	return out, nil
}

func micros(d sdk.Duration) time.Duration { return time.Duration(d).Truncate(time.Microsecond) }

// patience is how long a session may take to come up before it is down: three packets are
// needed, and both ends may speak only every second. What is known to be up is given the
// time that a neighbor takes to find an earlier session of ours dead, too.
func (p *prober) patience(known sdk.Outcome) time.Duration {
	idle := max(time.Duration(p.IdleTx), slowest)
	if known == sdk.Up {
		return time.Duration(max(p.Multiplier, 3))*idle + slowest
	}
	return 3 * idle
}

// Probe waits until the session is up. It takes part in the one of a check, if there is one.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	peer, err := p.peer(target)
	if err != nil {
		return sdk.Result{Reason: err.Error()}
	}
	sub, err := p.speaker.Subscribe(peer, true)
	if err != nil {
		target.Trace("%s", err)
		return sdk.Result{Reason: err.Error()}
	}
	defer sub.Close()
	for {
		status, obstacle := sub.Status()
		trace(target, status)
		if status.State == packet.Up {
			return sdk.Result{Outcome: sdk.Up}
		}
		select {
		case <-sub.News:
			sub.Take()
			continue
		case <-ctx.Done():
		}
		if status, obstacle = sub.Status(); status.State == packet.Up {
			return sdk.Result{Outcome: sdk.Up}
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return sdk.Result{Reason: "the probe was ended"}
		}
		r := sdk.Result{Outcome: sdk.Down, Reason: reason(status, obstacle)}
		target.Trace("%s", r.Reason)
		return r
	}
}

func trace(target sdk.Target, s session.Status) {
	if !s.Heard {
		target.Trace("session %s, neighbor not heard", s.State)
		return
	}
	target.Trace("session %s, neighbor %s (%s), sending every %s, detection time %s", s.State, s.Remote, s.RemoteDiag, s.Interval, s.Detection)
}

// reason says why a session is not up.
func reason(s session.Status, obstacle error) string {
	text := "BFD session " + s.State.String()
	switch {
	case s.Diag == packet.NeighborSaidDown && s.RemoteDiag != packet.NoDiagnostic:
		text += fmt.Sprintf(": %s (%s: %s)", s.Diag, s.Remote, s.RemoteDiag)
	case s.Diag != packet.NoDiagnostic:
		text += ": " + s.Diag.String()
	case s.Heard && s.Remote == packet.AdminDown:
		text += ": the neighbor is administratively down"
	case !s.Heard:
		text += ": the neighbor has not been heard"
	}
	if obstacle != nil {
		text += fmt.Sprintf("; %s", obstacle)
	}
	return text
}

// Watch reports the session's state as it changes.
func (p *prober) Watch(ctx context.Context, target sdk.Target, report func(sdk.Result)) {
	peer, err := p.peer(target)
	for again := false; ctx.Err() == nil; again = true {
		var sub *speaker.Subscription
		if err == nil {
			sub, err = p.speaker.Subscribe(peer, false)
		}
		if err != nil {
			// After a reload the session of the check's earlier parameters may be a moment from
			// its end.
			if again || !errors.Is(err, speaker.ErrBusy) {
				report(sdk.Result{Reason: err.Error()})
			}
			select {
			case <-time.After(tryAgain):
			case <-ctx.Done():
			}
			peer, err = p.peer(target)
			continue
		}
		p.follow(ctx, sub, target.Known.Outcome, report)
		return
	}
}

// follow reports what a session goes through. What it is like at first says nothing: down
// is told when it has been up, or when patience has ended.
func (p *prober) follow(ctx context.Context, sub *speaker.Subscription, known sdk.Outcome, report func(sdk.Result)) {
	defer sub.Close()
	patience := time.NewTimer(p.patience(known))
	defer patience.Stop()
	settled := false
	tell := func(s session.Status, obstacle error) {
		if s.State == packet.Up {
			settled = true
			report(sdk.Result{Outcome: sdk.Up})
		} else if settled && s.State == packet.Down {
			report(sdk.Result{Outcome: sdk.Down, Reason: reason(s, obstacle)})
		}
	}
	if s, obstacle := sub.Status(); s.State == packet.Up {
		tell(s, obstacle)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-patience.C:
			if !settled {
				settled = true
				s, obstacle := sub.Status()
				if s.State != packet.Up {
					report(sdk.Result{Outcome: sdk.Down, Reason: reason(s, obstacle)})
				}
			}
		case <-sub.News:
			_, obstacle := sub.Status()
			for _, s := range sub.Take() {
				tell(s, obstacle)
			}
		}
	}
}
