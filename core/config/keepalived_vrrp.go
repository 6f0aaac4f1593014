package config

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// vrrpDefaults are what global_defs gives to every instance.
type vrrpDefaults struct {
	device           string
	downTimerAdverts uint8
	garpRepeat       uint8
	garpDelay        time.Duration
	garpRefresh      time.Duration
}

func newVRRPDefaults() vrrpDefaults {
	return vrrpDefaults{downTimerAdverts: 3, garpRepeat: 5, garpDelay: 5 * time.Second}
}

// instance is a vrrp_instance while it is read.
type instance struct {
	*keepalived
	model.Instance
	at       place
	master   bool
	priority *uint8
	authType string
	// listed: there is an address, or an error told of one.
	listed bool
}

func (k *keepalived) instance(t *statement) {
	name, ok := k.word(t)
	if !ok {
		return
	}
	i := &instance{keepalived: k, at: t.place, Instance: model.Instance{
		Name:             name,
		AdvertInterval:   time.Second,
		DownTimerAdverts: k.defaults.downTimerAdverts,
		GARPRepeat:       k.defaults.garpRepeat,
		GARPDelay:        k.defaults.garpDelay,
		GARPRefresh:      k.defaults.garpRefresh,
	}}
	k.each(inInstance, t.body, i.keyword)
	i.finish()
	if first, ok := k.instances[name]; ok {
		k.errorf(t.place, "vrrp_instance %s is there already (%s:%d): give one of them another name", name, first.at.file, first.at.line)
		return
	}
	k.instances[name] = i
	k.order = append(k.order, name)
}

func (i *instance) keyword(t *statement) {
	switch t.keyword() {
	case "state":
		i.state(t)
	case "interface":
		if w, ok := i.word(t); ok {
			i.Interface = w
		} else {
			i.Interface = i.defaults.device
		}
	case "virtual_router_id":
		set(&i.VirtualRouterID, i.keepalived, t, 1, 255)
		if i.VirtualRouterID == 0 {
			i.VirtualRouterID = 1 // told already: do not tell that it is missing too
		}
	case "priority":
		give(&i.priority, i.keepalived, t, 1, 255)
	case "advert_int":
		i.advertInterval(t)
	case "version":
		i.version(t)
	case "nopreempt":
		i.NoPreempt = true
	case "preempt":
		i.NoPreempt = false
	case "preempt_delay":
		if d, ok := i.timer(t, 0, 1000*time.Second); ok {
			i.PreemptDelay = d
		}
	case "down_timer_adverts":
		set(&i.DownTimerAdverts, i.keepalived, t, 1, 100)
	case "authentication":
		i.authentication(t)
	case "virtual_ipaddress":
		i.listed = len(t.body) > 0
		i.Addresses = append(i.Addresses, i.virtualAddresses(t)...)
	case "virtual_ipaddress_excluded":
		i.Excluded = append(i.Excluded, i.virtualAddresses(t)...)
	case "mcast_src_ip":
		i.source(t)
	case "garp_master_delay":
		i.seconds(t, &i.GARPDelay)
	case "garp_master_repeat":
		i.garpRepeats(t, &i.GARPRepeat)
	case "garp_master_refresh":
		i.seconds(t, &i.GARPRefresh)
	case "lvs_sync_daemon_interface", "lvs_sync_daemon_inteface":
		i.oldSyncDaemon(t)
	}
}

// garpRepeats reads a number of gratuitous ARPs.
func (k *keepalived) garpRepeats(t *statement, to *uint8) {
	if set(to, k, t, 0, 255); *to == 0 {
		k.warnf(t.place, "%s 0 is taken as 1: a new master has to make itself known", t.words[0])
		*to = 1
	}
}

func (i *instance) state(t *statement) {
	switch w, ok := i.word(t); {
	case w == "MASTER":
		i.master = true
	case w != "BACKUP" && ok:
		i.warnf(t.place, "state %s is neither MASTER nor BACKUP: it is taken as BACKUP", w)
		i.master = false
	default:
		i.master = false
	}
}

func (i *instance) advertInterval(t *statement) {
	d, ok := i.timer(t, time.Microsecond, 255*time.Second)
	if !ok {
		return
	}
	i.AdvertInterval = max(d.Round(time.Second), time.Second)
	if i.AdvertInterval != d {
		i.warnf(t.place, "advert_int %s: VRRP version 2 has whole seconds: it is set to %g", t.words[1], i.AdvertInterval.Seconds())
	}
}

// version reads the version of VRRP, of which there is one yet.
func (k *keepalived) version(t *statement) {
	if n, ok := k.number(t, 2, 3); ok && n == 3 {
		k.errorf(t.place, "%s 3 is not built yet: remove it to use version 2, on the other director too", t.keyword())
	}
}

func (i *instance) authentication(t *statement) {
	i.each(inAuth, t.body, func(t *statement) {
		switch t.keyword() {
		case "auth_type":
			w, ok := i.word(t)
			switch {
			case w == "AH":
				i.errorf(t.place, "auth_type AH is not built yet: write PASS, on the other director too")
			case ok && w != "PASS":
				i.errorf(t.place, "unknown auth_type %s: it is PASS", w)
			}
			i.authType = w
		case "auth_pass":
			w, _ := i.word(t)
			if len(w) > 8 {
				i.warnf(t.place, "auth_pass is longer than 8 characters: only the first 8 count, as in keepalived")
				w = w[:8]
			}
			i.AuthPass = w
		}
	})
	switch {
	case i.AuthPass != "" && i.authType == "":
		i.errorf(t.place, "authentication of vrrp_instance %s has no auth_type: write auth_type PASS", i.Name)
	case i.AuthPass == "" && i.authType == "PASS":
		i.warnf(t.place, "authentication of vrrp_instance %s has no auth_pass: there is none, as in keepalived", i.Name)
	}
}

func (i *instance) source(t *statement) {
	a, ok := i.address(t)
	if ok && !a.Is4() {
		i.errorf(t.place, "mcast_src_ip %s: VRRP over IPv6 is not built yet", a)
		return
	}
	i.Source = a
}

func (i *instance) finish() {
	if i.VirtualRouterID == 0 {
		i.errorf(i.at, "vrrp_instance %s has no virtual_router_id: write one, 1..255, the same on both directors", i.Name)
	}
	if i.Interface == "" {
		i.Interface = i.defaults.device
	}
	if i.Interface == "" {
		i.Interface = "eth0"
		i.warnf(i.at, "vrrp_instance %s has no interface: it is eth0", i.Name)
	}
	i.Priority = value(i.priority, 100)
	if i.priority == nil && i.master {
		i.Priority = 255
		i.warnf(i.at, "vrrp_instance %s has state MASTER and no priority: it is 255, that of the address owner; write priority", i.Name)
	}
	if i.NoPreempt && (i.master || i.Priority == 255) {
		i.warnf(i.at, "nopreempt of vrrp_instance %s has no effect with state MASTER or priority 255: write state BACKUP on both directors", i.Name)
		i.NoPreempt = false
	}
	if i.PreemptDelay > 0 && (i.master || i.NoPreempt) {
		i.warnf(i.at, "preempt_delay of vrrp_instance %s has no effect with state MASTER or nopreempt", i.Name)
		i.PreemptDelay = 0
	}
	if !i.listed {
		i.warnf(i.at, "vrrp_instance %s has no virtual_ipaddress: nobody sees its role", i.Name)
	}
	if len(i.Addresses) > 255 {
		i.warnf(i.at, "vrrp_instance %s has more than 255 addresses: the others are not told in adverts", i.Name)
		i.Excluded = append(i.Addresses[255:len(i.Addresses):len(i.Addresses)], i.Excluded...)
		i.Addresses = i.Addresses[:255:255]
	}
	i.unique()
}

// unique drops addresses that stand twice and empties the interface of those that
// are on the instance's own.
func (i *instance) unique() {
	seen := map[netip.Addr]bool{}
	for _, list := range []*[]model.VirtualAddress{&i.Addresses, &i.Excluded} {
		var kept []model.VirtualAddress
		for _, a := range *list {
			if a.Interface == i.Interface {
				a.Interface = ""
			}
			if seen[a.Prefix.Addr()] {
				i.warnf(i.at, "address %s stands twice in vrrp_instance %s: the second is left out", a.Prefix.Addr(), i.Name)
				continue
			}
			seen[a.Prefix.Addr()] = true
			kept = append(kept, a)
		}
		*list = kept
	}
}

func (i *instance) virtualAddresses(t *statement) []model.VirtualAddress {
	var out []model.VirtualAddress
	for _, line := range t.body {
		if line.block {
			i.errorf(line.place, "unknown block %s in %s: it lists addresses", line.keyword(), t.keyword())
			continue
		}
		if a, ok := i.virtualAddress(line); ok {
			out = append(out, a)
		}
	}
	return out
}

// virtualAddress reads "IP[/BITS] [dev IF] [label L] [brd +|-|IP] [scope S]".
func (i *instance) virtualAddress(t *statement) (model.VirtualAddress, bool) {
	p, err := parsePrefix(t.keyword())
	if err != nil {
		i.errorf(t.place, "virtual address %s: %v", t.keyword(), err)
		return model.VirtualAddress{}, false
	}
	if p.Addr().Is6() {
		i.errorf(t.place, "virtual address %s: VRRP over IPv6 is not built yet", p)
		return model.VirtualAddress{}, false
	}
	a, ok := model.VirtualAddress{Prefix: p}, true
	for t.more() {
		option, _ := i.word(t)
		switch option {
		case "dev", "label", "brd", "broadcast", "scope":
			w, has := i.word(t)
			if !has {
				return a, false
			}
			ok = i.addressOption(t, &a, option, w) && ok
		case "peer", "home", "-nodad", "mngtmpaddr", "noprefixroute", "autojoin", "no_track", "preferred_lft", "use_vmac":
			i.errorf(t.place, "%s of virtual address %s is not built yet: remove it", option, p)
			t.next = len(t.words)
			return a, false
		default:
			i.errorf(t.place, "unknown option %s of virtual address %s (known: dev label brd scope; one address a line)", option, p)
			t.next = len(t.words)
			return a, false
		}
	}
	return a, ok
}

func (i *instance) addressOption(t *statement, a *model.VirtualAddress, option, w string) bool {
	switch option {
	case "dev":
		a.Interface = w
	case "label":
		a.Label = w
	case "scope":
		s, ok := parseScope(w)
		if !ok {
			i.errorf(t.place, "unknown scope %s of virtual address %s: it is global, site, link, host or 0..255", w, a.Prefix)
		}
		a.Scope = s
		return ok
	default:
		b, err := parseBroadcast(w, a.Prefix)
		if err != nil {
			i.errorf(t.place, "broadcast address %s of virtual address %s: %v", w, a.Prefix, err)
		}
		a.Broadcast = b
		return err == nil
	}
	return true
}

// parsePrefix reads an address with or without the length of its prefix.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil && !p.Addr().Is4In6() {
		return p, nil
	}
	a, err := parseAddress(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func parseScope(s string) (uint8, bool) {
	if n, ok := scopes[s]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 10, 8)
	return uint8(n), err == nil
}

// parseBroadcast reads an IPv4 address, + for the host bits set or - for them clear.
func parseBroadcast(s string, p netip.Prefix) (netip.Addr, error) {
	if s == "+" || s == "-" {
		return broadcastOf(p, s == "+"), nil
	}
	a, err := parseAddress(s)
	if err == nil && !a.Is4() {
		err = errAddress
	}
	return a, err
}
