package vrrp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/poise-lb/poise/plugins/failover/vrrp/fsm"
	"github.com/poise-lb/poise/plugins/failover/vrrp/netio"
	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
	"github.com/poise-lb/poise/plugins/failover/vrrp/record"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// Defaults of settings that are 0 in a set.
const (
	defaultDownAdverts = 3
	defaultRepeat      = 5
	// maxName is the longest name of an interface (IFNAMSIZ - 1).
	maxName = 15
	maxDown = 100
)

// groupConfig is a group that can be run.
type groupConfig struct {
	name      string
	instances []instanceConfig
	// wire is the group as it came, for a hand-over.
	wire *failoverv1.Group
}

type instanceConfig struct {
	settings  fsm.Settings
	intf      string
	vrid      uint8
	expect    packet.Expect
	source    netip.Addr
	addresses []address
}

// address is a virtual address and where it goes.
type address struct {
	netio.Address
	intf string
}

// settings are those of all instances, as the state machine wants them.
func (c groupConfig) settings() []fsm.Settings {
	all := make([]fsm.Settings, len(c.instances))
	for i, in := range c.instances {
		all[i] = in.settings
	}
	return all
}

// sameRouters says whether the group can change from c to o without leaving: it is the
// same virtual routers in the eyes of their peers.
func (c groupConfig) sameRouters(o groupConfig) bool {
	if len(c.instances) != len(o.instances) {
		return false
	}
	for i, in := range c.instances {
		if in.settings.Name != o.instances[i].settings.Name || in.digest() != o.instances[i].digest() {
			return false
		}
	}
	return true
}

// digest is of the settings that must be the same for an adoption. That of a password
// stays in the runtime directory, which nobody else can read.
func (c instanceConfig) digest() (sum record.Sum) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d %d %d %q", c.intf, c.vrid, c.expect.Interval, c.expect.AuthType, c.expect.Password)
	copy(sum[:], h.Sum(nil))
	return sum
}

// parseGroup reads a group. The error says everything that is wrong with it.
func parseGroup(g *failoverv1.Group) (groupConfig, error) {
	c := groupConfig{name: g.GetName(), wire: g}
	var wrong []error
	if c.name == "" {
		wrong = append(wrong, errors.New("the group has no name"))
	}
	if len(g.GetInstances()) == 0 {
		wrong = append(wrong, errors.New("the group has no instances"))
	}
	names := map[string]bool{}
	for _, in := range g.GetInstances() {
		parsed, err := parseInstance(in)
		if err == nil && names[in.GetName()] {
			err = errors.New("the name is used twice in the group")
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("instance %q: %w", in.GetName(), err))
		}
		names[in.GetName()] = true
		c.instances = append(c.instances, parsed)
	}
	return c, errors.Join(wrong...)
}

func parseInstance(in *failoverv1.Instance) (instanceConfig, error) {
	var wrong []error
	check := func(good bool, format string, args ...any) {
		if !good {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	interval := in.GetAdvertInterval().AsDuration()
	check(in.GetName() != "", "it has no name")
	check(goodInterface(in.GetInterface()), "interface %q is not the name of one (1 to %d characters)", in.GetInterface(), maxName)
	check(in.GetVirtualRouterId() >= 1 && in.GetVirtualRouterId() <= 255, "virtual router id %d is not 1 to 255", in.GetVirtualRouterId())
	check(in.GetPriority() >= 1 && in.GetPriority() <= 255, "priority %d is not 1 to 255", in.GetPriority())
	check(interval%time.Second == 0 && interval >= time.Second && interval <= 255*time.Second, "advert interval %s is not whole seconds from 1 to 255", interval)
	check(in.GetDownTimerAdverts() <= maxDown, "%d adverts that may be missed are more than %d", in.GetDownTimerAdverts(), maxDown)
	check(len(in.GetAuthPass()) <= packet.PasswordSize, "the password is longer than %d bytes", packet.PasswordSize)
	check(in.GetGarpRepeat() <= 255, "%d gratuitous ARPs in a round are more than 255", in.GetGarpRepeat())
	for what, d := range map[string]time.Duration{
		"preempt delay": in.GetPreemptDelay().AsDuration(), "garp delay": in.GetGarpDelay().AsDuration(), "garp refresh": in.GetGarpRefresh().AsDuration(),
	} {
		check(d >= 0, "%s %s is negative", what, d)
	}
	c := instanceConfig{
		settings: fsm.Settings{
			Name: in.GetName(), Priority: uint8(in.GetPriority()), Interval: interval,
			DownAdverts: orDefault(in.GetDownTimerAdverts(), defaultDownAdverts),
			NoPreempt:   in.GetNoPreempt(), PreemptDelay: in.GetPreemptDelay().AsDuration(),
			Repeat: orDefault(in.GetGarpRepeat(), defaultRepeat),
			Delay:  in.GetGarpDelay().AsDuration(), Refresh: in.GetGarpRefresh().AsDuration(),
		},
		intf: in.GetInterface(), vrid: uint8(in.GetVirtualRouterId()),
		expect: packet.Expect{Interval: uint8(interval / time.Second)},
	}
	if in.GetAuthPass() != "" {
		c.expect.AuthType = packet.AuthPass
		copy(c.expect.Password[:], in.GetAuthPass())
	}
	if s := in.GetSourceAddress(); s != "" {
		source, err := netip.ParseAddr(s)
		check(err == nil && source.Is4(), "source address %q is not an IPv4 address", s)
		c.source = source
	}
	check(len(in.GetAddresses()) <= packet.MaxAddresses, "%d addresses are more than the %d an advert can carry; put the others into the excluded addresses", len(in.GetAddresses()), packet.MaxAddresses)
	for i, a := range append(append([]*failoverv1.Address(nil), in.GetAddresses()...), in.GetExcludedAddresses()...) {
		told := i < len(in.GetAddresses())
		parsed, err := parseAddress(a, in.GetInterface())
		if err == nil && told && parsed.Prefix.Addr().Is6() {
			err = fmt.Errorf("address %s: VRRPv2 carries IPv4 only; put it into the excluded addresses", parsed.Prefix)
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		c.addresses = append(c.addresses, parsed)
		if told {
			c.expect.Addresses = append(c.expect.Addresses, parsed.Prefix.Addr())
		}
	}
	return c, errors.Join(wrong...)
}

func parseAddress(a *failoverv1.Address, intf string) (address, error) {
	prefix, err := netip.ParsePrefix(a.GetPrefix())
	if err != nil {
		return address{}, fmt.Errorf("address %q is not an address with a prefix length, as in 192.0.2.100/32", a.GetPrefix())
	}
	if prefix.Addr().Is4In6() || prefix.Addr().IsUnspecified() || prefix.Addr().IsMulticast() {
		return address{}, fmt.Errorf("address %s cannot be a virtual address", prefix)
	}
	p := address{Address: netio.Address{Prefix: prefix, Label: a.GetLabel(), Scope: uint8(a.GetScope())}, intf: intf}
	if a.GetScope() > 255 {
		return address{}, fmt.Errorf("address %s: scope %d is not 0 to 255", prefix, a.GetScope())
	}
	if a.GetInterface() != "" {
		p.intf = a.GetInterface()
	}
	if !goodInterface(p.intf) {
		return address{}, fmt.Errorf("address %s: interface %q is not the name of one (1 to %d characters)", prefix, p.intf, maxName)
	}
	if len(p.Label) > maxName {
		return address{}, fmt.Errorf("address %s: label %q is longer than %d characters", prefix, p.Label, maxName)
	}
	if b := a.GetBroadcast(); b != "" {
		if p.Broadcast, err = netip.ParseAddr(b); err != nil || !p.Broadcast.Is4() || !prefix.Addr().Is4() {
			return address{}, fmt.Errorf("address %s: broadcast address %q is not an IPv4 address", prefix, b)
		}
	}
	return p, nil
}

func goodInterface(name string) bool { return name != "" && len(name) <= maxName }

func orDefault(n uint32, def int) int {
	if n == 0 {
		return def
	}
	return int(n)
}
