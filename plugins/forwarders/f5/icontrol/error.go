package icontrol

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// What an error means, for errors.Is. An [Error] that is none of these is permanent: the
// same request will be refused again.
var (
	// ErrNotFound: the object is absent, in the words of the device. A device that is still
	// starting, a missing partition and a missing parent of what is created are not this.
	ErrNotFound = errors.New("the object does not exist")
	// ErrConflict: an object of this name exists. Read it and see whose it is.
	ErrConflict = errors.New("the object exists already")
	// ErrInUse: something refers to the object, or is in it. Remove that first.
	ErrInUse = errors.New("the object is in use")
	// ErrAddressTaken: another virtual server has this destination, or another virtual
	// address this address.
	ErrAddressTaken = errors.New("the address is taken")
	// ErrNoPartition: the partition does not exist. The configuration says one that is not
	// there; its objects are not merely absent.
	ErrNoPartition = errors.New("the partition does not exist")
	// ErrTransient: the device is starting, busy or out of reach. The same request may
	// succeed later.
	ErrTransient = errors.New("the device cannot answer now")
	// ErrAuth: the user or the password is refused, or the user may not do this. Devices say
	// so under load too: credentials are kept and tried again with the next request, which
	// should come later rather than sooner.
	ErrAuth = errors.New("the credentials are refused")
	// ErrUnknownOutcome: the device may have done what it was asked to, or not, or not yet.
	// Read before anything else.
	ErrUnknownOutcome = errors.New("it is not known whether the device did it")
	// ErrTooLarge: the answer has more bytes than Options.MaxBody.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the client is closed")
)

// Codes of mcpd, the device's configuration daemon, as in [Error].Code.
const (
	CodeNotFound           = "01020036"
	CodeExists             = "01020066"
	CodeInUse              = "01070265"
	CodeNodeReferenced     = "01070110"
	CodeSnatPoolReferenced = "01070320"
	CodeMonitorInUse       = "01070083"
	CodePartitionNotEmpty  = "0107082a"
	CodeDestinationTaken   = "01070333"
	CodeAddressExists      = "0107176c"
)

// Error is a request that failed: refused by the device, or without an answer.
type Error struct {
	Method string
	Path   Path
	// HTTP is the status, 0 without an answer.
	HTTP int
	// Code is the code of mcpd, eight hexadecimal digits, or empty. That of a refused
	// transaction is the one of the command that was refused.
	Code string
	// APIError is the number that the device's REST daemon gives.
	APIError int
	// Message is what the device said, without the code, shortened.
	Message string
	// HTML: the answer was a page for browsers.
	HTML bool
	// Unknown: the request may have been carried out.
	Unknown bool

	// means is the class, where it was found before secrets were taken out of Message.
	means class
	cause error
}

// class is one of the sentinels, or permanent.
type class struct{ err error }

var permanent = class{errors.New("permanent")}

// Error says what was asked of the device and what came of it.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Method + " " + e.Path.String() + ": ")
	if e.HTTP != 0 {
		b.WriteString(strconv.Itoa(e.HTTP) + " ")
	}
	if e.Code != "" {
		b.WriteString(e.Code + " ")
	}
	b.WriteString(e.Message)
	if e.Unknown {
		b.WriteString("; " + ErrUnknownOutcome.Error())
	}
	return b.String()
}

// Unwrap gives why there was no answer, or nil.
func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is work with what an error means.
func (e *Error) Is(target error) bool {
	if target == ErrUnknownOutcome {
		return e.Unknown
	}
	return target == e.class().err
}

func (e *Error) class() class {
	if e.means != (class{}) {
		return e.means
	}
	return classify(e)
}

var codes = map[string]class{
	CodeInUse:              {ErrInUse},
	CodeNodeReferenced:     {ErrInUse},
	CodeSnatPoolReferenced: {ErrInUse},
	CodeMonitorInUse:       {ErrInUse},
	CodePartitionNotEmpty:  {ErrInUse},
	CodeDestinationTaken:   {ErrAddressTaken},
	CodeAddressExists:      {ErrAddressTaken},
	CodeExists:             {ErrConflict},
}

// classify goes by status and code. Where a device gives no code, only its words tell.
func classify(e *Error) class {
	says := func(words string) bool { return strings.Contains(e.Message, words) }
	switch {
	case e.HTTP == 0:
		return class{ErrTransient}
	case says("requested folder") && says("not found"):
		return class{ErrNoPartition}
	case says("from mcpd"), says("connection to mcpd has been lost"):
		return class{ErrTransient}
	}
	if c, ok := codes[e.Code]; ok {
		return c
	}
	switch {
	case e.HTTP == http.StatusUnauthorized:
		return e.unauthorized()
	case e.HTTP == http.StatusForbidden:
		return class{ErrAuth}
	case e.HTTP == http.StatusNotFound:
		return e.notFound()
	case e.HTTP == http.StatusConflict:
		return class{ErrConflict}
	case e.HTTP == http.StatusTooManyRequests:
		return class{ErrTransient}
	case e.HTTP == http.StatusBadRequest && says("maximum active login tokens"):
		// They end by themselves.
		return class{ErrTransient}
	case e.HTTP >= 500 && e.HTTP != http.StatusNotImplemented:
		return class{ErrTransient}
	}
	return permanent
}

// unauthorized: only a login can tell that credentials are wrong, and not every refused
// one does.
func (e *Error) unauthorized() class {
	if e.Path != loginPath || e.wrapsUnavailable() || strings.Contains(e.Message, "no user authentication header") {
		return class{ErrTransient}
	}
	return class{ErrAuth}
}

// wrapsUnavailable: a device that runs an asynchronous task refuses logins with a 401 that
// has a 503 inside.
func (e *Error) wrapsUnavailable() bool {
	return strings.Contains(e.Message, "status:503") || strings.Contains(e.Message, "status: 503")
}

func (e *Error) notFound() class {
	switch {
	case e.HTML, strings.Contains(e.Message, "not registered"):
		return class{ErrTransient}
	case e.Method == http.MethodPost:
		// What is created needs what is absent.
		return permanent
	case e.Code == CodeNotFound, strings.HasPrefix(e.Message, "Object not found"):
		return class{ErrNotFound}
	}
	return permanent
}
