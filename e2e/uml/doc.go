// Package uml runs a program on a kernel of its own: user-mode Linux, a Linux kernel
// that runs as a process, with IPVS and all its schedulers as modules, on the
// machine's own files.
//
// Sharp edges:
//   - The root is read-only and the host's; /run, /tmp, /var/lib, /var/log and /var/tmp
//     are empty and in memory. The host's own files, what is under its /tmp included,
//     are seen under HostRoot; the program's path and directory are translated.
//   - What the program writes to its output goes through the machine's console. Files
//     that it leaves in OutDir are on the host after it has closed them.
//   - There is one processor, and a system call costs five to seven times what it costs
//     on the host.
//   - Programs built with the race detector do not start in it.
package uml
