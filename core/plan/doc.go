// Package plan decides what should be: pure functions from what is configured, wished
// and known to the table a forwarder should hold. It has no clock, no memory and no
// effects; what a decision needs from the one before it is passed in and given back
// as Memory.
//
// A decision is made for one virtual server at a time and depends on nothing but that
// virtual server's own configuration, overrides, verdicts and memory, so that a
// verdict costs the work of the virtual servers that it touches.
//
// Who is in the table:
//
//   - A real server is down if a check of it is down, and up if all are up. With a
//     check that has not been up or down yet it is unknown. Unknown counts as up, as
//     with keepalived, but for an alpha real server, which is treated as down until all
//     its checks have been up once.
//   - A check that says unknown after it was up or down keeps what it said before: the
//     fault is the checker's, not the real server's.
//   - Before the first verdict of a check, what was carried over for the real server
//     (from the table at start, from the configuration before a reload) stands in.
//   - Down: out of the table, or weight 0 with inhibit_on_failure. Drain: weight 0 until
//     its deadline, then out. Maintenance: out.
//   - The weight of the real servers that count as up makes the quorum. It is gained at
//     quorum + hysteresis and lost below quorum - hysteresis, and always lost at weight
//     0: a virtual server whose weights are all 0 never has a quorum.
//   - Without a quorum the sorry server, if there is one, takes the place of the real
//     servers that are up; those with weight 0 because they are down or drained stay, so
//     that their connections go on. Without a sorry server the loss of the quorum changes
//     nothing: a virtual server may stay without any destination.
package plan
