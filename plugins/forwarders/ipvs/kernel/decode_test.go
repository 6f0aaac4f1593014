package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"syscall"
	"testing"

	"github.com/cloudflare/ipvs"
	"github.com/cloudflare/ipvs/netmask"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

func TestDecodeService(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.100")
	key := table.Key{Addr: addr, Port: 80, Protocol: table.TCP}
	for name, c := range map[string]struct {
		given ipvs.Service
		want  table.Service
	}{
		"what has no effect is left out": {
			ipvs.Service{Address: addr, Port: 80, Protocol: ipvs.TCP, Family: ipvs.INET, Scheduler: "rr", Flags: ipvs.ServiceHashed, Timeout: 9},
			table.Service{Key: key, Scheduler: "rr", Prefix: 32},
		},
		"persistence": {
			ipvs.Service{Address: addr, Port: 80, Protocol: ipvs.TCP, Family: ipvs.INET, Scheduler: "sh", Timeout: 9,
				Flags: ipvs.ServicePersistent | ipvs.ServiceSchedulerOpt2, Netmask: netmask.MaskFrom(24, 32)},
			table.Service{Key: key, Scheduler: "sh", Prefix: 24, Timeout: 9, Flags: table.Persistent | table.Scheduler2},
		},
		"a mask that is no prefix": {
			ipvs.Service{FWMark: 3, Family: ipvs.INET, Scheduler: "rr", Timeout: 9, Flags: ipvs.ServicePersistent, Netmask: netmask.MaskFrom4([4]byte{255, 0, 255, 0})},
			table.Service{Key: table.Key{Mark: 3}, Scheduler: "rr", Prefix: table.NotPrefix, Timeout: 9, Flags: table.Persistent},
		},
	} {
		if got := decodeService(c.given); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestDecodeStats(t *testing.T) {
	narrow := ipvs.Stats{Connections: 1, IncomingPackets: 2, OutgoingPackets: 3, IncomingBytes: 4, OutgoingBytes: 5}
	if got := decodeStats(narrow, ipvs.Stats{}); got != (table.Counters{Connections: 1, PacketsIn: 2, PacketsOut: 3, BytesIn: 4, BytesOut: 5}) {
		t.Errorf("an older kernel's: %+v", got)
	}
	if got := decodeStats(narrow, ipvs.Stats{Connections: 1 << 40}); got != (table.Counters{Connections: 1 << 40}) {
		t.Errorf("64 bits: %+v", got)
	}
}

func TestExplain(t *testing.T) {
	for err, want := range map[error]error{syscall.EPERM: ErrNotPermitted, syscall.ENOENT: ErrNoIPVS, fs.ErrNotExist: ErrNoIPVS} {
		if got := explain(fmt.Errorf("tried: %w", err)); !errors.Is(got, want) || !errors.Is(got, err) {
			t.Errorf("%v: %v", err, got)
		}
	}
	if got := explain(syscall.EIO); got != syscall.EIO {
		t.Errorf("another error: %v", got)
	}
}
