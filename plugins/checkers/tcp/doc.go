// Package tcp is the TCP checker: a target is up when a connection to it completes.
//
// The connection is given up before the target's application sees it: the last packet
// of the handshake is held back and the connection is ended by a reset (package poll,
// Quiet and Reset), so that the director is left no socket in TIME_WAIT and the
// server has nothing to accept or to log. What is proven is the same: the target's
// kernel has answered for a listening socket.
//
// Sharp edge: a server that counts accepted connections does not count these.
package tcp
