// Package bigip simulates the management side of F5 BIG-IPs: iControl REST, as clients of
// load balancing use it, on one unit or a pair. It is the peer of poise's forwarder in
// tests, and was made from recorded bodies, F5's documents and the sources of other
// clients, not from poise's client. It forwards no traffic.
//
//	unit := bigip.New(bigip.Options{Partitions: []string{"lab"}})
//	if err := unit.Start(""); err != nil { … }
//	defer unit.Close()
//	// talk to unit.URL(), trusting unit.CA(), as admin with the password admin
//
// It is strict: an address, property or value that it does not know is refused, and a
// change that fails leaves nothing behind. What is known of real devices is kept, the
// inconvenient parts above all: read the README for what it does, and for the points where
// a device's behaviour is not known and the simulator had to choose (Unverified).
//
// Everything is safe for concurrent use. Time is that of a Clock that a test can move.
package bigip
