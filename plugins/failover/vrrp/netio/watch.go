package netio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Change says that something about an interface may have changed; what it is now is to
// be asked for.
type Change struct {
	// Index of the interface; 0: of any, messages were lost.
	Index int
	// Name of the interface where the change is of the link itself.
	Name string
}

type watch struct {
	socket *nl.NetlinkSocket
	done   chan struct{}
}

// watchBuffer is the room for messages that have not been read: enough for some
// thousand addresses that change at once.
const watchBuffer = 4 << 20

func startWatch(changes chan<- Change) (*watch, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("watch links and addresses through netlink: %w", err)
	}
	// A smaller buffer means losing messages sooner, which is told and survived.
	_ = socket.SetReceiveBufferSize(watchBuffer, true)
	w := &watch{socket, make(chan struct{})}
	go w.run(changes)
	return w, nil
}

func (w *watch) close() {
	close(w.done)
	w.socket.Close()
}

func (w *watch) run(changes chan<- Change) {
	for {
		messages, from, err := w.socket.Receive()
		if err == nil && from.Pid != nl.PidKernel {
			continue
		}
		list := make([]Change, 0, len(messages))
		for _, m := range messages {
			if c, ok := parseChange(m); ok {
				list = append(list, c)
			}
		}
		if err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			// Most likely ENOBUFS: messages were lost.
			list = append(list, Change{})
			select {
			case <-w.done:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
		for _, c := range list {
			select {
			case changes <- c:
			case <-w.done:
				return
			}
		}
	}
}

// parseChange reads a message about a link or an address.
func parseChange(m syscall.NetlinkMessage) (Change, bool) {
	// struct ifinfomsg and struct ifaddrmsg both hold the index in bytes 4 to 7.
	if len(m.Data) < 8 {
		return Change{}, false
	}
	c := Change{Index: int(binary.NativeEndian.Uint32(m.Data[4:]))}
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return c, c.Index > 0
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		c.Name = linkName(m.Data)
		return c, c.Index > 0
	}
	return Change{}, false
}

// linkName finds the name among the attributes of a message about a link.
func linkName(data []byte) string {
	const header, align = unix.SizeofRtAttr, unix.RTA_ALIGNTO
	if len(data) < unix.SizeofIfInfomsg {
		return ""
	}
	for rest := data[unix.SizeofIfInfomsg:]; len(rest) >= header; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < header || size > len(rest) {
			return ""
		}
		if binary.NativeEndian.Uint16(rest[2:]) == unix.IFLA_IFNAME {
			return unix.ByteSliceToString(rest[header:size])
		}
		rest = rest[min((size+align-1)&^(align-1), len(rest)):]
	}
	return ""
}
