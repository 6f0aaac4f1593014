// Package kernel is the edge to the kernel's IPVS table: it reads with
// github.com/cloudflare/ipvs and writes in batches with package genl, which also has what
// that library lacks.
//
// A Kernel works in the network namespace of the thread that opened it. CAP_NET_ADMIN is
// all it needs, for reading too. The kernel itself loads the modules that are asked for
// (ip_vs, schedulers, persistence engines) where it finds them.
package kernel
