package config

import (
	"net/netip"

	"github.com/poise-lb/poise/core/model"
)

// syncDaemon is connection sync while it is read: it names an instance, which may
// stand below it and be in a sync group.
type syncDaemon struct {
	place
	model.ConnectionSync
	instance string
	id       *uint8
}

// syncDaemon reads "lvs_sync_daemon IF [[inst] INSTANCE] [id N] …".
func (k *keepalived) syncDaemon(t *statement) {
	s := &syncDaemon{place: t.place}
	var ok bool
	if s.Interface, ok = k.word(t); !ok {
		return
	}
	for t.more() {
		switch w, _ := k.word(t); w {
		case "inst":
			s.instance, _ = k.word(t)
		case "id":
			give(&s.id, k, t, 0, 255)
		case "maxlen":
			set(&s.MaxLength, k, t, 1, 65507)
		case "port":
			set(&s.Port, k, t, 1, 65535)
		case "ttl":
			set(&s.TTL, k, t, 1, 255)
		case "group":
			a, ok := k.address(t)
			if ok && !a.IsMulticast() {
				k.errorf(t.place, "lvs_sync_daemon group %s: not a multicast address", a)
			}
			s.Multicast = a
		default:
			if t.next != 3 {
				k.errorf(t.place, "unknown option %s of lvs_sync_daemon (known: inst id maxlen port ttl group)", w)
				return
			}
			s.instance = w
		}
	}
	if s.instance == "" {
		k.errorf(t.place, "lvs_sync_daemon without a vrrp_instance is not built yet: write lvs_sync_daemon %s INSTANCE", s.Interface)
		return
	}
	if k.sync != nil {
		k.warnf(t.place, "lvs_sync_daemon is there already (%s:%d): this one counts", k.sync.file, k.sync.line)
	}
	k.sync = s
}

// oldSyncDaemon reads lvs_sync_daemon_interface of an instance.
func (i *instance) oldSyncDaemon(t *statement) {
	device, ok := i.word(t)
	if !ok {
		return
	}
	i.warnf(t.place, "%s in an instance is an old spelling: write lvs_sync_daemon %s %s in global_defs", t.keyword(), device, i.Name)
	if i.sync != nil {
		i.warnf(t.place, "connection sync is set already (%s:%d): this one is ignored", i.sync.file, i.sync.line)
		return
	}
	i.sync = &syncDaemon{place: t.place, ConnectionSync: model.ConnectionSync{Interface: device}, instance: i.Name}
}

// joinSync finds the failover group that connection sync follows. Its id is 0 if none
// is set: so Debian's keepalived 2.2.7 starts it, and the peer may be one.
func (k *keepalived) joinSync() {
	if k.sync == nil {
		return
	}
	for _, g := range k.config.FailoverGroups {
		for _, i := range g.Instances {
			if i.Name != k.sync.instance {
				continue
			}
			s := k.sync.ConnectionSync
			s.Group, s.ID = g.Name, value(k.sync.id, 0)
			k.config.ConnectionSync = normalSync(s)
			k.draft.sync = k.sync.place
			return
		}
	}
	k.errorf(k.sync.place, "lvs_sync_daemon names the vrrp_instance %s, which does not exist%s", k.sync.instance, meant(k.sync.instance, k.instanceNames()))
}

// The kernel's own values, which the model leaves empty.
const (
	syncPort = 8848
	syncTTL  = 1
)

var syncGroupAddress = netip.AddrFrom4([4]byte{224, 0, 0, 81})

// normalSync empties what is the kernel's own choice, so that equal settings are
// equal values.
func normalSync(s model.ConnectionSync) *model.ConnectionSync {
	if s.Port == syncPort {
		s.Port = 0
	}
	if s.TTL == syncTTL {
		s.TTL = 0
	}
	if s.Multicast == syncGroupAddress {
		s.Multicast = netip.Addr{}
	}
	return &s
}
