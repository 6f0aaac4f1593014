package table_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

var web = table.Key{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: table.TCP}

func virtual(scheduler string, reals ...table.Real) table.Virtual {
	return table.Virtual{Service: table.Service{Key: web, Scheduler: scheduler, Prefix: 32}, Reals: reals}
}

func dest(last byte, weight uint32) table.Real {
	addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 80)
	return table.Real{Destination: table.Destination{Addr: addr, Weight: weight, Method: table.DR}}
}

// verbs gives operations in short.
func verbs(ops []table.Op) []string {
	out := []string{}
	for _, op := range ops {
		text := op.Verb() + " " + op.Object()
		if op.Kind == table.AddDestination || op.Kind == table.EditDestination {
			text += fmt.Sprintf(" weight %d", op.Destination.Weight)
		}
		out = append(out, text)
	}
	return out
}

func TestDiff(t *testing.T) {
	mail := table.Key{Addr: netip.MustParseAddr("192.0.2.100"), Port: 25, Protocol: table.TCP}
	mark := table.Key{Mark: 3, IPv6: true}
	sync := table.Sync{Role: table.Master, Interface: "eth0", ID: 5}
	running := table.Sync{Role: table.Master, Interface: "eth0", ID: 5, MaxLength: 1472}.Normal()
	backup := table.Sync{Role: table.Backup, Interface: "eth0", ID: 5, MaxLength: 1472}.Normal()
	both := map[table.Role]bool{table.Master: true, table.Backup: true}
	for name, c := range map[string]struct {
		want   table.Want
		actual table.State
		ops    []string
	}{
		"nothing": {},
		"all new": {
			want: table.Want{Services: []table.Virtual{virtual("rr", dest(1, 3), dest(2, 0))}, Sync: &sync},
			ops: []string{"add TCP 192.0.2.100:80", "add real server 192.0.2.1:80 of TCP 192.0.2.100:80 weight 3",
				"add real server 192.0.2.2:80 of TCP 192.0.2.100:80 weight 0", "start connection sync master on eth0, id 5"},
		},
		"one weight": {
			want:   table.Want{Services: []table.Virtual{virtual("rr", dest(1, 3), dest(2, 1))}},
			actual: table.State{Services: []table.Virtual{virtual("rr", dest(2, 1), dest(1, 4))}},
			ops:    []string{"edit real server 192.0.2.1:80 of TCP 192.0.2.100:80 weight 3"},
		},
		"added before edited before zeroed before removed": {
			want:   table.Want{Services: []table.Virtual{virtual("wrr", dest(1, 0), dest(2, 5), dest(3, 1))}},
			actual: table.State{Services: []table.Virtual{virtual("rr", dest(4, 1), dest(1, 4), dest(2, 4))}},
			ops: []string{"edit TCP 192.0.2.100:80", "add real server 192.0.2.3:80 of TCP 192.0.2.100:80 weight 1",
				"edit real server 192.0.2.2:80 of TCP 192.0.2.100:80 weight 5", "edit real server 192.0.2.1:80 of TCP 192.0.2.100:80 weight 0",
				"remove real server 192.0.2.4:80 of TCP 192.0.2.100:80"},
		},
		"owned is removed at the end, foreign stays": {
			want: table.Want{Services: []table.Virtual{virtual("rr")}, Owned: map[table.Key]bool{mail: true, web: true}},
			actual: table.State{Services: []table.Virtual{
				{Service: table.Service{Key: mail, Scheduler: "rr"}, Reals: []table.Real{dest(1, 1)}},
				{Service: table.Service{Key: mark, Scheduler: "rr"}},
			}},
			ops: []string{"add TCP 192.0.2.100:80", "remove TCP 192.0.2.100:25"},
		},
		"what has no effect is no difference": {
			want: table.Want{Services: []table.Virtual{virtual("rr", dest(1, 1))}},
			actual: table.State{Services: []table.Virtual{{
				Service: table.Service{Key: web, Scheduler: "rr", Flags: 0x2, Timeout: 360, Prefix: table.NotPrefix},
				Reals: []table.Real{{Destination: table.Destination{Addr: dest(1, 1).Addr, Weight: 1, Method: table.DR,
					Tunnel: table.Tunnel{Type: table.GUE, Port: 9}}}},
			}}},
		},
		"sync runs":                     {want: table.Want{Sync: &sync, SyncOwned: both}, actual: table.State{Syncs: []table.Sync{running}}},
		"sync not wanted":               {want: table.Want{SyncOwned: both}, actual: table.State{Syncs: []table.Sync{running, backup}}, ops: []string{"stop connection sync master on eth0, id 5", "stop connection sync backup on eth0, id 5"}},
		"sync foreign":                  {actual: table.State{Syncs: []table.Sync{running}}},
		"sync changes role":             {want: table.Want{Sync: &sync, SyncOwned: both}, actual: table.State{Syncs: []table.Sync{backup}}, ops: []string{"stop connection sync backup on eth0, id 5", "start connection sync master on eth0, id 5"}},
		"sync beside a foreign":         {want: table.Want{Sync: &sync}, actual: table.State{Syncs: []table.Sync{backup}}, ops: []string{"start connection sync master on eth0, id 5"}},
		"sync adopted with another id":  {want: table.Want{Sync: &sync}, actual: table.State{Syncs: []table.Sync{{Role: table.Master, Interface: "eth0", ID: 6}}}, ops: []string{"stop connection sync master on eth0, id 6", "start connection sync master on eth0, id 5"}},
		"sync of another length":        {want: table.Want{Sync: &table.Sync{Role: table.Master, Interface: "eth0", ID: 5, MaxLength: 900}}, actual: table.State{Syncs: []table.Sync{running}}, ops: []string{"stop connection sync master on eth0, id 5", "start connection sync master on eth0, id 5"}},
		"sync of a length that is kept": {want: table.Want{Sync: &table.Sync{Role: table.Master, Interface: "eth0", ID: 5, MaxLength: 1472}}, actual: table.State{Syncs: []table.Sync{running}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := verbs(table.Diff(c.want, c.actual)); !slices.Equal(got, c.ops) {
				t.Errorf("got  %q\nwant %q", got, c.ops)
			}
		})
	}
}

func TestSyncNormal(t *testing.T) {
	for _, c := range []struct {
		role  table.Role
		group string
		given uint16
		want  uint16
	}{
		{table.Master, "224.0.0.81", 0, 0}, {table.Master, "224.0.0.81", 1, 1}, {table.Backup, "224.0.0.81", 1, 1024},
		{table.Master, "224.0.0.81", 65535, 65507}, {table.Backup, "ff02::81", 65535, 65487},
	} {
		s := table.Sync{Role: c.role, Interface: "eth0", MaxLength: c.given, Group: netip.MustParseAddr(c.group)}
		if got := s.Normal().MaxLength; got != c.want {
			t.Errorf("%s in group %s, length %d: %d, want %d", c.role, c.group, c.given, got, c.want)
		}
	}
	want := table.Sync{Role: table.Backup, Interface: "eth0", Port: 8848, TTL: 1, Group: netip.MustParseAddr("224.0.0.81")}
	if got := (table.Sync{Role: table.Backup, Interface: "eth0"}).Normal(); got != want {
		t.Errorf("defaults: %+v", got)
	}
}

func TestRepair(t *testing.T) {
	service := table.Service{Key: table.Key{Mark: 3, IPv6: true}, Scheduler: "rr", Prefix: 128}
	was := table.Service{Key: service.Key, Scheduler: "sh", Flags: table.Persistent | table.Scheduler2, Timeout: 50, Prefix: 64, Engine: "sip"}
	d := table.Destination{Addr: netip.MustParseAddrPort("[2001:db8::1]:80"), Weight: 1, Method: table.TUN, Tunnel: table.Tunnel{Type: table.GUE, Port: 6080, Checksum: table.ChecksumRemote}}
	for want, op := range map[string]table.Op{
		"FWM 3 inet6 had scheduler sh, flags persistent+flag-2, persistence timeout 50, persistence prefix 64, persistence engine \"sip\": " +
			"set to scheduler rr, flags none, persistence timeout 0, persistence prefix 128, persistence engine \"\"": {Kind: table.EditService, Service: service, WasService: was},
		"real server [2001:db8::1]:80 of FWM 3 inet6 had forwarding method NAT, tunnel ipip: set to forwarding method TUN, tunnel gue port 6080 remcsum": {
			Kind: table.EditDestination, Service: service, Destination: d, WasDestination: table.Destination{Addr: d.Addr, Weight: 1}},
		"FWM 3 inet6 was there and should not be: removed":                         {Kind: table.RemoveService, Service: service},
		"connection sync backup on eth0, id 7 was running and should not: stopped": {Kind: table.StopSync, Sync: table.Sync{Role: table.Backup, Interface: "eth0", ID: 7}},
	} {
		if got := op.Repair(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
