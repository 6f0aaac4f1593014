// Package dial makes connections as a check's target asks: from its source address and
// port, through its interface, with its firewall mark. It tells what went wrong here from
// what the target did.
//
// There is one attempt to one address: no names, no second family, no second try within
// a probe.
package dial
