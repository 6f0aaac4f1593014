// Package control is the operators' API: poise.control.v1 on the unix socket
// control.sock in the runtime directory.
//
// It keeps nothing of its own. Status is put together from what Daemon gives at that
// moment; an operator's wish goes to Daemon and comes back in the next snapshot. Who
// may open the socket may steer the director, so it is for the user of the daemon
// alone (0600), from its first moment on.
package control
