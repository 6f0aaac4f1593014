package netio

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrMissing says that there is no interface of a name.
var ErrMissing = errors.New("interface is missing")

// netlinkTimeout bounds how long the kernel may keep a caller waiting.
const netlinkTimeout = time.Second

// Link is an interface.
type Link struct {
	Index int
	Name  string
	// Enabled: somebody has set it up. Running: it also has a carrier.
	Enabled, Running bool
	// MAC is nil where the link is not Ethernet.
	MAC net.HardwareAddr
}

// Address is an address to put on an interface.
type Address struct {
	Prefix netip.Prefix
	Label  string
	// Broadcast is invalid for none.
	Broadcast netip.Addr
	// Scope is rtnetlink's RT_SCOPE_*.
	Scope uint8
}

// Network reads and changes links and addresses.
type Network struct {
	handle *netlink.Handle
	watch  *watch
}

// Open opens the network and feeds changes of it to changes until Close.
func Open(changes chan<- Change) (*Network, error) {
	watch, err := startWatch(changes)
	if err != nil {
		return nil, err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		watch.close()
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := handle.SetSocketTimeout(netlinkTimeout); err != nil {
		watch.close()
		handle.Close()
		return nil, fmt.Errorf("set the timeout of netlink: %w", err)
	}
	return &Network{handle, watch}, nil
}

// Close ends the feed of changes.
func (n *Network) Close() {
	n.watch.close()
	n.handle.Close()
}

// Link finds an interface by its name; the error is ErrMissing where there is none.
func (n *Network) Link(name string) (Link, error) {
	link, err := n.handle.LinkByName(name)
	if err != nil {
		if _, missing := err.(netlink.LinkNotFoundError); missing || errors.Is(err, unix.ENODEV) {
			return Link{}, ErrMissing
		}
		return Link{}, fmt.Errorf("look for interface %s: %w", name, err)
	}
	a := link.Attrs()
	return Link{
		Index: a.Index, Name: a.Name, MAC: hardware(a.EncapType, a.HardwareAddr),
		Enabled: a.RawFlags&unix.IFF_UP != 0,
		Running: a.RawFlags&(unix.IFF_UP|unix.IFF_RUNNING) == unix.IFF_UP|unix.IFF_RUNNING,
	}, nil
}

// Addresses lists the addresses of an interface in the kernel's order.
func (n *Network) Addresses(link Link) ([]netip.Prefix, error) {
	list, err := n.handle.AddrList(device(link), netlink.FAMILY_ALL)
	for range 3 {
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		list, err = n.handle.AddrList(device(link), netlink.FAMILY_ALL)
	}
	if err != nil {
		return nil, fmt.Errorf("list the addresses of %s: %w", link.Name, err)
	}
	prefixes := make([]netip.Prefix, 0, len(list))
	for _, a := range list {
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			ones, _ := a.Mask.Size()
			prefixes = append(prefixes, netip.PrefixFrom(ip.Unmap(), ones))
		}
	}
	return prefixes, nil
}

// Add puts an address on an interface and says whether it was not there.
func (n *Network) Add(link Link, a Address) (added bool, err error) {
	address := &netlink.Addr{IPNet: ipNet(a.Prefix), Label: a.Label, Scope: int(a.Scope), Broadcast: net.IPv4zero}
	if a.Broadcast.IsValid() {
		address.Broadcast = a.Broadcast.AsSlice()
	}
	if a.Prefix.Addr().Is6() {
		// Duplicate address detection would keep it from answering for a second, and
		// for ever if the old master still does.
		address.Flags, address.Broadcast = unix.IFA_F_NODAD, nil
	}
	switch err := n.handle.AddrAdd(device(link), address); {
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("add address %s to %s: %w", a.Prefix, link.Name, err)
	}
	return true, nil
}

// Remove takes an address off an interface and says whether it was there.
func (n *Network) Remove(link Link, prefix netip.Prefix) (removed bool, err error) {
	switch err := n.handle.AddrDel(device(link), &netlink.Addr{IPNet: ipNet(prefix)}); {
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENODEV):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("remove address %s from %s: %w", prefix, link.Name, err)
	}
	return true, nil
}

func device(link Link) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: link.Index, Name: link.Name}}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
