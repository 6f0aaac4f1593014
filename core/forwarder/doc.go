// Package forwarder is the daemon's side of poise.forward.v1: it gives a forwarder
// process the whole table that should be, one request at a time with the newest set
// winning, and keeps what the process reports.
//
// What is made is written down before it is made, and what is gone is forgotten only
// after it is gone: the owned keys given to the process are never too few.
package forwarder
