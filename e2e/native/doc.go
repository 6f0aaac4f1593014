// Package native holds the scenarios of VRRP alone, which need no IPVS: they run in
// network namespaces of the host's own kernel, at its full speed, with programs built
// with the race detector where that can be had.
package native
