// Package handover gives the groups of a VRRP process to the process that replaces it,
// over a unix socket in the runtime directory. Never do both act, and never none:
//
//	new                                old
//	ask ───────────────────────────▶   stops acting
//	        ◀─────────────── offer     waits for a moment
//	confirm ───────────────────────▶   never acts again
//	acts    ◀──────────── released     ends
//
// The old process goes on as before if no confirmation comes in time or the connection
// breaks. The new one acts only after "released", or after it has made sure that the
// old one is dead. What an old process was doing when the new one dies after its
// confirmation is in the records, as after any kill.
//
// Both are of the same user, and each makes sure that the other one is.
package handover
