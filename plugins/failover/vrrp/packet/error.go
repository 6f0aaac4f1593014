package packet

import "fmt"

// Reason says why a packet was refused; it is the label of its counter.
type Reason string

// Reasons. Addresses is counted only: such a packet is taken.
const (
	Version   Reason = "version"
	Length    Reason = "length"
	Checksum  Reason = "checksum"
	TTLWrong  Reason = "ttl"
	Auth      Reason = "auth"
	Interval  Reason = "interval"
	Addresses Reason = "addresses"
)

// Error says what is wrong with a packet. It never holds a password.
type Error struct {
	Reason Reason
	Detail string
}

// Error gives the detail.
func (e *Error) Error() string { return e.Detail }

func errorf(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}
