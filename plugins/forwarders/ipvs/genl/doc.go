// Package genl speaks the parts of IPVS's generic netlink interface that
// github.com/cloudflare/ipvs does not: many operations in one send, connection sync,
// persistence engines, and a write that is taken back in the same send.
//
// A send carries up to batchSize operations, and at its end a question that is always
// answered. The kernel answers an operation only when it fails: a send that succeeds costs
// two system calls, however much is in it (see docs/performance.md). The kernel carries the
// messages of a send out in order and goes on after one that failed.
//
// Numbers in attributes have the machine's byte order, ports and addresses of services
// and destinations the network's, and the port of connection sync the machine's again.
package genl
