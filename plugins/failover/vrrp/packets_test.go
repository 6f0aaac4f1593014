package vrrp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/plugins/failover/vrrp/packet"
)

// TestBadPackets: what is not a good advert changes nothing and is counted.
func TestBadPackets(t *testing.T) {
	t.Parallel()
	l := newLab(t, 3, 1)
	a, b, _ := pair(t, l)
	seed := packet.Advert{VirtualRouterID: 51, Priority: 255, AuthType: packet.AuthPass, Interval: 1, Addresses: []netip.Addr{netip.MustParseAddr(vip)}}
	copy(seed.Password[:], "1111")
	datagram := func(change func(a *packet.Advert)) []byte {
		bad := seed
		change(&bad)
		return packet.AppendDatagram(nil, netip.MustParseAddr("192.0.2.3"), bad)
	}
	flip := func(at int, with byte) []byte {
		b := datagram(func(*packet.Advert) {})
		b[at] ^= with
		return b
	}
	bad := map[string][][]byte{
		"ttl":      {flip(8, 1)},
		"checksum": {flip(22, 1), flip(39, 1)},
		"version":  {flip(20, 0x10), flip(20, 0x03)},
		"length":   {datagram(func(*packet.Advert) {})[:30], datagram(func(*packet.Advert) {})[:20], flip(23, 2), append(flip(0, 0), 0)},
		"auth":     {datagram(func(a *packet.Advert) { a.Password[0] = '2' }), datagram(func(a *packet.Advert) { a.AuthType = 0; a.Password = [8]byte{} })},
		"interval": {datagram(func(a *packet.Advert) { a.Interval = 2 })},
	}
	var all [][]byte
	for _, list := range bad {
		all = append(all, list...)
	}
	l.inject(3, all)
	l.inject(3, [][]byte{datagram(func(a *packet.Advert) { a.VirtualRouterID = 77 })}) // Another router's.
	for _, p := range []*process{a, b} {
		for reason, list := range bad {
			eventually(t, 2*time.Second, fmt.Sprintf("host %d has counted %d of %q", p.host, len(list), reason), func() bool {
				return p.status("http").GetPacketErrors()[reason] == uint64(len(list))
			})
			if n := p.notices("packet from 192.0.2.3"); n > len(bad) {
				wrong(t, "%d notices", n)
			}
		}
	}
	always(t, time.Second, "nothing has changed", func() bool {
		roleA, _ := a.role("VGM")
		roleB, _ := b.role("VGM")
		return roleA == master && roleB == backup && l.has(1, vip)
	})
	// The same packet, whole, is obeyed.
	l.inject(3, [][]byte{datagram(func(*packet.Advert) {})})
	a.await(backup, time.Second)
	if strings.Contains(a.log.String()+b.log.String(), "1111") {
		wrong(t, "the password is in a log")
	}
}

// inject sends packets from a host.
func (l *lab) inject(host int, datagrams [][]byte) {
	l.t.Helper()
	var script strings.Builder
	for _, d := range datagrams {
		fmt.Fprintf(&script, "%x\n", d)
	}
	cmd := l.child(host, "injector", "")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("inject: %v: %s", err, out)
	}
}
