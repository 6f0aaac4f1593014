// Package faulty is HTTP servers that misbehave to order, for tests of what probes
// HTTP: each Fault answers every connection in its own wrong way. Faults are written in
// terms of a net.Conn, so that they misbehave over TLS as well.
package faulty
