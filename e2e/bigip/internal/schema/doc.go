// Package schema is the table of what a BIG-IP knows: kinds of objects, their fields with
// type, default and rules, and which objects a device has from the start. It holds no
// behaviour; package state works from it.
//
// Names, types and defaults are those of recorded bodies and of the API as clients use it,
// TMOS 16.1. Where a default is not known from either, the field has none and is absent
// until it is set.
package schema
