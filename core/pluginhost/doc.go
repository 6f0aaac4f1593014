// Package pluginhost runs plugin processes: it verifies the executable, starts it with
// no more privileges than it needs, watches it, and starts it again when it exits, is
// stopped or makes no progress. It is the only importer of go-plugin on the daemon's
// side, because go-plugin does none of these, and hangs on a plugin that does not
// answer: here every wait for a plugin ends with SIGKILL to its process group.
//
// What a process serves is not known here. A session, given to Start, speaks with the
// process as long as it runs and calls Beat when the process reports progress.
//
// Sharp edges:
//
//   - Each Process forks from an OS thread of its own that lives as long as it does.
//     The parent-death signal of Linux fires when the forking thread ends, not the
//     process; and a thread of its own may give up privileges (bounding set, ambient
//     set, no_new_privs) that the daemon keeps, and have a priority that it has not.
//   - A process that Survives has no parent-death signal and lives on when the daemon
//     dies: it has to look after itself. Close and Stop end it like any other.
//   - The executable is opened once, verified and hashed through that descriptor, and
//     executed through it (/proc/self/fd/3), so that what runs is what was verified, and
//     a user who cannot reach the path can run it all the same. The kernel's short name
//     of the process is "3" until it names itself; its first argument is the path.
//   - Beats are counted in time that the watcher lived through: a host that stood still
//     as a whole is not held against its plugins.
package pluginhost
