package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Fault is a setting of a Spec with which it cannot be run.
type Fault struct {
	// Key is "path", "sha256", "user" or "capabilities".
	Key string
	Err error
	// Later: this process could run it all the same, one with privileges would not.
	Later bool
}

// Verify finds what is wrong with a spec without starting anything: its executable, where
// others than root could replace it or it is not the pinned one, its user, its
// capabilities. What it does not find may be refused by Start all the same: files change.
func Verify(spec Spec) []Fault {
	var faults []Fault
	own := currentPowers()
	if _, err := own.identify(Spec{Capabilities: spec.Capabilities, KeepsUser: true}); err != nil {
		faults = append(faults, Fault{Key: "capabilities", Err: err})
	}
	if _, err := own.identify(Spec{User: spec.User}); err != nil {
		faults = append(faults, Fault{Key: "user", Err: err})
	}
	file, err := openExecutable(spec, own.privileged() && !spec.Builtin)
	if err != nil {
		key := "path"
		var sum *sumError
		if errors.As(err, &sum) {
			key = "sha256"
		}
		return append(faults, Fault{Key: key, Err: err})
	}
	_ = file.Close()
	if !spec.Builtin && !own.privileged() {
		if _, err := trustedFile(spec.Path); err != nil {
			faults = append(faults, Fault{Key: "path", Later: true, Err: fmt.Errorf("%w; poised that runs as root refuses it", err)})
		}
	}
	return faults
}

// Identity tells whether a file is the one it was: it is another one as soon as anything
// was written to it or put in its place.
func Identity(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("look at the executable: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("look at the executable: the file system says too little of %s", path)
	}
	return fmt.Sprintf("%d:%d:%d:%d.%09d", stat.Dev, stat.Ino, stat.Size, stat.Ctim.Sec, stat.Ctim.Nsec), nil
}
