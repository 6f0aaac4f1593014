package forwarder

import (
	"maps"
	"slices"
	"strings"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// setErrors replaces what is wrong with the table, and tells what is new.
func (f *Forwarder) setErrors(list []*forwardv1.ObjectError) {
	f.mu.Lock()
	errors := make(map[string]string, len(list))
	for _, e := range list {
		object := objectName(e, f.status.Members)
		if said := errors[object]; said != "" {
			errors[object] = said + "; " + e.GetMessage()
			continue
		}
		errors[object] = e.GetMessage()
	}
	before := f.status.Errors
	f.status.Errors = errors
	f.mu.Unlock()
	for object, message := range errors {
		if before[object] != message {
			f.handlers.Failed(object, message)
		}
	}
	if len(before) > 0 && len(errors) == 0 {
		f.handlers.Recovered()
	}
}

// failed adds one thing that is wrong, beside those that are.
func (f *Forwarder) failed(object, message string) {
	f.mu.Lock()
	same := f.status.Errors[object] == message
	errors := maps.Clone(f.status.Errors)
	if errors == nil {
		errors = map[string]string{}
	}
	errors[object] = message
	f.status.Errors = errors
	f.mu.Unlock()
	if !same {
		f.handlers.Failed(object, message)
	}
}

func objectName(e *forwardv1.ObjectError, appliance bool) string {
	switch {
	case e.GetKey() == nil && appliance:
		return "appliance"
	case e.GetKey() == nil:
		return "connection sync"
	}
	key, err := decodeKey(e.GetKey())
	if err != nil {
		return "virtual server of an unknown key"
	}
	if e.GetRealServer() != "" {
		return key.String() + " " + e.GetRealServer()
	}
	return key.String()
}

// describe gives errors in one line.
func describe(errors map[string]string) string {
	if len(errors) == 0 {
		return "the forwarder did not answer in time"
	}
	var out []string
	for object, message := range errors {
		out = append(out, object+": "+message)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
