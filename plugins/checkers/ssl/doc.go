// Package ssl is the HTTP checker over TLS: a target is up when the handshake succeeds,
// its certificate is what the parameters ask for, and it answers as the http checker
// wants it to.
//
// Requests and replies are package http's. Here are the parameters of TLS
// (parameters.go), the files with authorities and client certificates (files.go), the
// handshake (handshake.go) and the warning before a certificate expires (expiry.go).
//
// Sharp edges: a certificate that is not verified still has to be one that crypto/tls can
// read. Every probe is a full handshake: nothing is resumed, because a server that can
// only resume is not up.
package ssl
