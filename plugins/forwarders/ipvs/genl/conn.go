package genl

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

const (
	// batchSize is how many operations go in one send. What the kernel answers when all of
	// them fail has to fit the socket's receive buffer.
	batchSize = 64
	// receiveBuffer is asked for; a failed operation's answer takes about 1.3 kB of it.
	receiveBuffer = 1 << 20
	// messageBuffer is what the kernel may fill with one answer. It gives the real servers
	// of a service in portions and finds its place in the list again for each, so that
	// small portions make reading a long list slow; it fills 32 kB at most.
	messageBuffer = 1 << 16
	// answerTimeout bounds the wait for the kernel's answer, which is there when the send
	// returns: the kernel does its work inside the send.
	answerTimeout = 10 * time.Second
)

// ErrLost says that the kernel's answers could not be read: whether the operations were
// carried out is not known. The connection is of no more use.
var ErrLost = errors.New("lost the kernel's answer")

// Conn is a connection to IPVS in the network namespace of the thread that opened it. It
// is not for concurrent use.
type Conn struct {
	nl       *netlink.Conn
	gen      *genetlink.Conn
	family   uint16
	sequence uint32
}

// Open connects. An error that is fs.ErrNotExist says that the kernel has no IPVS; asking
// for it has made the kernel try to load the module.
func Open() (*Conn, error) {
	const netlinkGeneric = 16
	nl, err := netlink.Dial(netlinkGeneric, &netlink.Config{MessageBufferSize: messageBuffer})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	gen := genetlink.NewConn(nl)
	family, err := gen.GetFamily("IPVS")
	if err != nil {
		nl.Close()
		return nil, fmt.Errorf("ask the kernel for IPVS: %w", err)
	}
	if err := nl.SetReadBuffer(receiveBuffer); err != nil {
		nl.Close()
		return nil, fmt.Errorf("set the receive buffer of the netlink socket: %w", err)
	}
	return &Conn{nl: nl, gen: gen, family: family.ID}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.nl.Close() }

// Run carries operations out in order and gives the error of each, nil where it
// succeeded. Errors are the kernel's errnos; after ErrLost nothing more is sent.
func (c *Conn) Run(ops []table.Op) []error {
	errs := make([]error, len(ops))
	for start := 0; start < len(ops); start += batchSize {
		end := min(start+batchSize, len(ops))
		if err := c.send(ops[start:end], errs[start:end]); err != nil {
			for i := start; i < len(ops); i++ {
				errs[i] = err
			}
			break
		}
	}
	return errs
}

// send carries one batch out and puts the errors into errs.
func (c *Conn) send(ops []table.Op, errs []error) error {
	requests := make([][]byte, len(ops))
	for i, op := range ops {
		requests[i] = encode(op)
	}
	return c.exchange(requests, func(i int, _ []byte, err error) { errs[i] = err })
}

// exchange sends requests at once and hands the kernel's answers to take with the number of
// the request: data, or why it was refused. A request that asks for nothing and succeeds
// has no answer.
//
// The requests are followed by one that always has an answer, which tells that all others
// have been carried out. An acknowledgement of the last one would not do: the kernel sends
// none where it meets EINTR, which happens when a sync daemon is stopped that has just
// been started and has not run yet.
func (c *Conn) exchange(requests [][]byte, take func(i int, data []byte, err error)) error {
	first := c.sequences(len(requests) + 1)
	last := first + uint32(len(requests))
	messages := make([]netlink.Message, 0, len(requests)+1)
	for i, data := range append(requests, newMessage(cmdGetInfo)) {
		messages = append(messages, netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(c.family), Flags: netlink.Request, Sequence: first + uint32(i)},
			Data:   data,
		})
	}
	if _, err := c.nl.SendMessages(messages); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	if err := c.nl.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	for {
		answers, err := c.nl.Receive()
		refused, sequence := kernelError(err)
		if refused != nil {
			answers = []netlink.Message{{Header: netlink.Header{Sequence: sequence}}}
		} else if err != nil {
			return fmt.Errorf("%w: %w", ErrLost, err)
		}
		for _, a := range answers {
			if a.Header.Sequence == last {
				return refused
			}
			if i := a.Header.Sequence - first; i < uint32(len(requests)) {
				take(int(i), a.Data, refused)
			}
		}
	}
}

// sequences gives the first of n numbers that follow each other; 0 is never among them.
func (c *Conn) sequences(n int) uint32 {
	if c.sequence > ^uint32(0)-uint32(n)-1 {
		c.sequence = 0
	}
	first := c.sequence + 1
	c.sequence += uint32(n)
	return first
}

// kernelError tells an answer of the kernel's that refuses a message from an error of the
// socket's.
func kernelError(err error) (refused error, sequence uint32) {
	var op *netlink.OpError
	var errno syscall.Errno
	if errors.As(err, &op) && op.Sequence != 0 && errors.As(op.Err, &errno) {
		return errno, op.Sequence
	}
	return nil, 0
}

// dump asks for all objects of a command; attributes narrow it down.
func (c *Conn) dump(command uint8, narrow attributes, each func(data []byte) error) error {
	if err := c.nl.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	request := genetlink.Message{Header: genetlink.Header{Command: command, Version: version}, Data: narrow}
	answers, err := c.gen.Execute(request, c.family, netlink.Request|netlink.Dump)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if err := each(a.Data); err != nil {
			return err
		}
	}
	return nil
}

// Destinations gives the destinations of a service with their counters; none if there is
// no such service.
func (c *Conn) Destinations(k table.Key) ([]table.Real, error) {
	var out []table.Real
	var narrow attributes
	narrow.key(k)
	err := c.dump(cmdGetDest, narrow, func(data []byte) error {
		r, found, err := decodeReal(data, k.IPv6)
		if found {
			out = append(out, r)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the real servers of %s: %w", k, err)
	}
	return out, nil
}

// Syncs gives the sync daemons that run.
func (c *Conn) Syncs() ([]table.Sync, error) {
	var out []table.Sync
	err := c.dump(cmdGetDaemon, nil, func(data []byte) error {
		s, found, err := decodeDaemon(data)
		if found {
			out = append(out, s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the sync daemons: %w", err)
	}
	return out, nil
}

// Engines gives the persistence engines of the services that have one.
func (c *Conn) Engines() (map[table.Key]string, error) {
	out := map[table.Key]string{}
	err := c.dump(cmdGetService, nil, func(data []byte) error {
		key, engine, found, err := decodeEngine(data)
		if found && engine != "" {
			out[key] = engine
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the persistence engines: %w", err)
	}
	return out, nil
}

// ProbeWrite adds a service, reads it back and removes it again, in one send: nobody can
// see it in between, and a process that is killed leaves nothing behind. The service must
// not be there. Its error says which of the three failed.
func (c *Conn) ProbeWrite(s table.Service) error {
	get := newMessage(cmdGetService)
	get.key(s.Key)
	requests := [][]byte{
		encode(table.Op{Kind: table.AddService, Service: s}), get,
		encode(table.Op{Kind: table.RemoveService, Service: s}),
	}
	var errs [3]error
	read := false
	err := c.exchange(requests, func(i int, data []byte, err error) {
		errs[i] = err
		if err == nil && len(data) > genlHeader {
			key, _, found, decodeErr := decodeEngine(data[genlHeader:])
			read, errs[i] = found && key == s.Key, decodeErr
		}
	})
	if err != nil {
		return err
	}
	for i, step := range []string{"add", "read back", "remove"} {
		if errs[i] != nil {
			return fmt.Errorf("%s a trial service (%s): %w", step, s.Key, errs[i])
		}
	}
	if !read {
		return fmt.Errorf("read back a trial service (%s): the kernel took it and does not show it", s.Key)
	}
	return nil
}
