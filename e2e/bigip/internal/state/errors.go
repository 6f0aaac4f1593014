package state

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/schema"
)

// Error is a refusal in the device's words.
type Error struct {
	HTTP    int
	API     int
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.HTTP, e.Message) }

// Numbers of apiError that recorded bodies have.
const (
	apiObject = 1
	// APITransaction is that of a refused commit.
	APITransaction = 2
	apiConfig      = 3
	// APIProperty is that of what the REST layer refuses before it asks for the object.
	APIProperty = 26214401
)

// NotFound is the refusal of what is not there.
func NotFound(title, path string) *Error {
	return &Error{404, apiConfig, fmt.Sprintf("01020036:3: The requested %s (%s) was not found.", title, path)}
}

// ObjectNotFound is what GET of a missing pool member says, unlike all others.
func ObjectNotFound(path string) *Error {
	return &Error{404, apiObject, "Object not found - " + path}
}

func exists(title, path, partition string) *Error {
	return &Error{409, apiConfig, fmt.Sprintf("01020066:3: The requested %s (%s) already exists in partition %s.", title, path, partition)}
}

// NoFolder is the refusal of a partition or folder that is not there.
func NoFolder(folder string) *Error {
	return &Error{400, APIProperty, fmt.Sprintf("The requested folder (%s) was not found.", folder)}
}

func invalid(name string, value any) *Error {
	text, err := json.Marshal(value)
	if err != nil {
		text = []byte(fmt.Sprint(value))
	}
	return &Error{400, APIProperty, fmt.Sprintf("invalid property value %q:%s", name, text)}
}

func unknown(name string) *Error {
	return &Error{400, APIProperty, fmt.Sprintf("%q unknown property", name)}
}

func readOnly(name string) *Error {
	return &Error{400, APIProperty, fmt.Sprintf("%q read-only property cannot be modified", name)}
}

func nothing() *Error {
	return &Error{400, APIProperty, "one or more properties must be specified"}
}

func noPort(value string) *Error {
	return &Error{400, APIProperty, fmt.Sprintf("A port number or service name is missing for %q", value)}
}

func refuse(format string, args ...any) *Error {
	return &Error{400, apiConfig, "01070734:3: Configuration error: " + fmt.Sprintf(format, args...)}
}

func coded(format string, args ...any) *Error {
	return &Error{400, apiConfig, fmt.Sprintf(format, args...)}
}

// inUse says why an object cannot be deleted. Each class has words of its own.
func inUse(o, by *Object) *Error {
	path, user := o.Path(), by.Path()
	switch {
	case o.Kind.Path == "ltm/node":
		return coded("01070110:3: Node address '%s' is referenced by a member of pool '%s'.", path, by.Owner)
	case o.Kind.Path == "ltm/snatpool":
		return coded("01070320:3: Snatpool %s is still referenced by a virtual server.", path)
	case o.Kind.Class == "monitor":
		return coded("01070083:3: Monitor %s is in use", path)
	}
	return coded("01070265:3: The %s (%s) cannot be deleted because it is in use by a %s (%s).", o.Kind.Title, path, by.Kind.Title, user)
}

// absent is NotFound in the form that the kind has for it.
func absent(k *schema.Kind, owner, path string) *Error {
	if k.Path == "ltm/pool/members" {
		node, port := path, ""
		if i := strings.LastIndexAny(path, ".:"); i >= 0 {
			node, port = path[:i], path[i+1:]
		}
		return NotFound(k.Title, fmt.Sprintf("%s %s %s", owner, node, port))
	}
	return NotFound(k.Title, path)
}
