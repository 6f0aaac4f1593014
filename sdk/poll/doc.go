// Package poll carries the TCP connections of many probes at little cost: wake-ups are
// what costs, so it batches them.
//
// A checker whose probes are many implements sdk.Starter with it: Start gives the engine
// a connection and a Handler, the engine calls the Handler as things happen, and the
// Handler calls done with the result. There is no goroutine, no timer and no buffer per
// connection.
//
//	type probe struct{ done func(sdk.Result) }
//
//	func (p *probe) Connected(c *poll.Conn)          { c.Write([]byte("PING\r\n")) }
//	func (p *probe) Received(c *poll.Conn, b []byte) { c.Reset(); p.done(sdk.Result{Outcome: sdk.Up}) }
//	func (p *probe) Closed(c *poll.Conn, err error)  { p.done(c.Failed(err)) }
//
//	func (prober) Start(ctx context.Context, t sdk.Target, done func(sdk.Result)) {
//		poll.Start(ctx, t, poll.Options{}, &probe{done})
//	}
//
//	func (p prober) Probe(ctx context.Context, t sdk.Target) sdk.Result { return poll.Probe(ctx, p, t) }
//
// # How it works
//
// Start makes the socket and begins to connect. When all probes that start together have
// begun (sdk.AfterStarts), or a moment later, one round goes over all of them with the
// system calls themselves, without asking first which are ready; most of a network's
// answers are there by then. A few rounds follow, each later than the one before; a
// connection that still waits is left to epoll. Connections that were started with the same
// context share its deadline, and one timer.
//
// A socket whose connection was reset is kept for a moment and connected again, which
// saves half of a short probe. Nothing of the one connection shows in the other.
//
// # Sharp edges
//
// Handlers of one engine are called one after the other, from whatever goroutine runs the
// round: one that blocks or computes for long makes all probes of the process late.
//
// A panic in a Handler ends its connection and no other: Closed is called with the panic
// as a local error, so that the probe has not been made.
//
// A kept socket goes on with its sequence numbers when it is connected to the same address
// again, or to any without TCP timestamps, which are usual. Who answered one probe could
// then guess those of the next, but not its port.
//
// There are names for nothing here: no resolver, no second address, no second attempt.
package poll
