// Package state is the configuration of a simulated BIG-IP: objects, what may be written
// to them, and which of them hold each other. It answers refusals in the words and codes
// of the device. It knows no HTTP, no time of its own and no goroutines.
//
// A Config is never changed in place: Begin gives an Edit, which works on a copy that is
// taken over or thrown away as a whole, as the device does with a request or a
// transaction. Copies share what was not written.
package state
