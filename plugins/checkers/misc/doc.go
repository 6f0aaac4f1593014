// Package misc is the checker that runs a command: its exit code is the result.
//
// The command is run directly, without a shell, in a process group of its own and as a
// user of its own. At the deadline the whole group is told to end (SIGTERM), and what is
// left of it two seconds later is killed; the probe has been told as down by then. Whoever
// left the group (setsid) is left alone.
//
// A run is one goroutine that owns the process from its start until it is reaped, and the
// probe's, which reads the output. Waiting takes no thread where the kernel has
// descriptors of processes (5.4); elsewhere it takes one for each run.
//
// Sharp edges: the runtime starts one process at a time; where that takes too long, those
// that wait are unknown and not down. Output is read through a pipe that is closed when the command ends: a
// process that it leaves in the background is to redirect its own.
package misc
