package misc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/poise-lb/poise/sdk"
)

// Validate refuses what can never be run, and warns of what cannot be run here and now:
// a configuration may be checked on another machine, and by a user who cannot look
// everywhere.
func (checker) Validate(raw json.RawMessage) []sdk.Problem {
	p, err := parse(raw)
	if err != nil {
		var wrong *sdk.ParameterError
		if errors.As(err, &wrong) {
			return []sdk.Problem{{Path: wrong.Path, Message: wrong.Message}}
		}
		return []sdk.Problem{{Message: err.Error()}}
	}
	var out []sdk.Problem
	warn := func(path, format string, args ...any) {
		out = append(out, sdk.Problem{Path: path, Message: fmt.Sprintf(format, args...) + "; the check is down as long as it is so", Warning: true})
	}
	known := true
	if p.User != "" {
		if _, err := findUser(p.User); err != nil {
			known = false
			warn("/user", "%s", err)
		}
	}
	if p.Group != "" && known {
		if _, err := identify(p.User, p.Group); err != nil {
			known = false
			warn("/group", "%s", err)
		}
	}
	path, err := find(p.Command[0])
	if err != nil {
		warn("/command/0", "%s", err)
		return out
	}
	if message := unrunnable(path); message != "" {
		warn("/command/0", "%s", message)
		return out
	}
	// Who checks a configuration may be anybody; without a user it is root's in the end,
	// unless there is one for scripts.
	user := p.User
	if user == "" {
		if _, err := findUser(defaultUser); err != nil {
			user = "root"
		}
	}
	if who, err := identify(user, p.Group); known && err == nil && who.uid == 0 && p.Secure {
		if err := trusted(path); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			warn("/command/0", "it will not be run as root: %s; put it where only root can write, or run it as another user", err)
		}
	}
	return out
}

// unrunnable says why a file cannot be run, if that is certain; empty: it may be.
func unrunnable(path string) string {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return ""
	case err != nil:
		return fmt.Sprintf("%s: install it, or correct the path", err)
	case !info.Mode().IsRegular():
		return fmt.Sprintf("%s is not a file", path)
	case info.Mode()&0o111 == 0:
		return fmt.Sprintf("%s is not executable: chmod +x", path)
	}
	if name, found := interpreter(path); found {
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("the interpreter %s of %s is not there", name, path)
		}
	}
	return ""
}
