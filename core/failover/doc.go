// Package failover is the daemon's side of poise.failover.v1: it gives a failover
// process the whole set of groups, and turns its roles into the model's.
package failover
