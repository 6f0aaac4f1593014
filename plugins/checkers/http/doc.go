// Package http is the HTTP checker: a target is up when it answers a request with a
// status that is wanted, and a body that is.
//
// The parts are small and most are pure. Parameters become a Check (compile.go). A Check
// says which url is due (rotation.go: keepalived's order, found by measuring it), makes
// the bytes of its request (request.go), and judges what comes back (reply.go, body.go,
// regex.go), as it comes and without keeping it. probe.go does so over a connection that
// a Connect makes, http2.go over HTTP/2. The ssl checker is this package with another
// Connect.
//
// Sharp edges: there are two ways to read a reply, see Parameters.RawBody. A regex is
// carried out by a library with .NET's syntax; translate.go makes it out of PCRE's, and
// refuses what it cannot say.
package http
