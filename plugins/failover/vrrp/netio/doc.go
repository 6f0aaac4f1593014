// Package netio is the network as the VRRP plugin needs it on Linux: raw sockets for
// adverts, gratuitous ARP (and its IPv6 counterpart), addresses, and the state of links.
//
// It needs CAP_NET_RAW and CAP_NET_ADMIN and nothing else. Every call returns at once
// but for those to netlink, which the kernel answers in well under a millisecond and
// which give up after a second. Goroutines feed the channels that Listen and Open are
// given; everything else is called from one goroutine.
package netio
