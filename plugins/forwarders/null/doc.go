// Package null is a forwarder without a data plane: it holds the table in memory and
// reports it. It serves trials on machines without IPVS, and measurements of everything
// but the kernel.
//
// It keeps to the whole contract of poise.forward.v1, foreign services and owned keys
// included, so that what is seen with it is what a real forwarder would do. The table
// ends with the process.
package null
