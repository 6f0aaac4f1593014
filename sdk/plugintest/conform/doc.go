// Package conform is the conformance kit: it runs a plugin's executable, in whatever
// language it is written, as the daemon does, and checks the contract of
// proto/poise/*/v1 requirement by requirement.
//
// Each requirement has a process of its own, so that one that is broken does not hide
// the others. What the kit says does not rest on what the plugin says of itself alone: a
// check's target is reached through a relay that counts connections and can be made to
// refuse, hang or talk nonsense, and processes are looked at in /proc.
//
// Sharp edges: without a Type's Parameters and Target little can be said of a check; a
// plugin that is stopped or starved by the machine may fail a requirement about time,
// which is therefore tried several times.
package conform
