// Package table holds the nouns of an IPVS table and the one decision of this plugin:
// which operations lead from the table that is to the table that should be. It is pure:
// no kernel, no protos, no clock.
//
// Both sides are normalised to what the kernel can tell apart (see Service.Normal,
// Destination.Normal and Sync.Normal), so that two tables which behave alike compare
// equal and a difference that cannot be repaired is never seen.
//
// What the kernel can edit in place is edited: scheduler, persistence, weight, forwarding
// method, thresholds. Connections survive an edit; they do not survive a removal.
package table
