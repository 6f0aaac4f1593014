// Package packet encodes and checks VRRPv2 advertisements (RFC 3768, section 5) and the
// IPv4 header around them. It is pure: bytes in, values or an *Error out, and nothing
// it is given makes it panic.
//
// Authentication is RFC 2338's simple text password (type 1), which RFC 3768 dropped
// and which everybody still uses. The checksum covers the whole VRRP message, the
// eight bytes of authentication data included, as keepalived and RFC 2338 have it.
package packet
