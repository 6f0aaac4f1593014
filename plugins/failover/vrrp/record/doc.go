// Package record keeps, in a directory that lasts as long as the machine is up, what the
// next process has to know about a VRRP instance if this one is killed: whether it was
// master, when it sent its last advert, and which addresses it has put where.
//
// There is a file for each instance: a header of fixed size, overwritten in place by one
// small write at every advert, and the addresses behind it, which change with the
// configuration only. A header that is damaged or of another boot counts for nothing.
package record
