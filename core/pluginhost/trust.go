package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openExecutable opens what a spec names, and verifies it through the descriptor: what
// is executed through it is what was verified. trusted asks for a path that only root
// can change.
func openExecutable(spec Spec, trusted bool) (*os.File, error) {
	if !filepath.IsAbs(spec.Path) {
		return nil, fmt.Errorf("executable %q is not an absolute path: name it from the root", spec.Path)
	}
	file, err := os.OpenFile(spec.Path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the executable: %w", err)
	}
	if err := verify(file, spec, trusted); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func verify(file *os.File, spec Spec, trusted bool) error {
	opened, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at the executable: %w", err)
	}
	if !opened.Mode().IsRegular() {
		return fmt.Errorf("executable %s is not a regular file", spec.Path)
	}
	if opened.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("executable %s has no execute permission: chmod a+x it", spec.Path)
	}
	if trusted {
		found, err := trustedFile(spec.Path)
		if err != nil {
			return err
		}
		if !os.SameFile(opened, found) {
			return fmt.Errorf("executable %s was replaced while it was verified", spec.Path)
		}
	}
	return verifySum(file, spec)
}

// sumError says that the sum that is pinned is not the executable's.
type sumError struct{ message string }

func (e *sumError) Error() string { return e.message }

func verifySum(file io.ReaderAt, spec Spec) error {
	if spec.SHA256 == "" {
		return nil
	}
	want, err := hex.DecodeString(spec.SHA256)
	if err != nil || len(want) != sha256.Size {
		return &sumError{fmt.Sprintf("sha256 %q of executable %s is not %d hexadecimal digits", spec.SHA256, spec.Path, 2*sha256.Size)}
	}
	got, err := sum(file)
	if err != nil {
		return fmt.Errorf("hash the executable %s: %w", spec.Path, err)
	}
	if got != hex.EncodeToString(want) {
		return &sumError{fmt.Sprintf("executable %s has sha256 %s, not the pinned %x: if it was upgraded on purpose, pin the new one", spec.Path, got, want)}
	}
	return nil
}

// sum is the sha256 of a file in hex.
func sum(file io.ReaderAt) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, math.MaxInt64)); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// maxSymlinks as the kernel's limit.
const maxSymlinks = 40

// trustedFile follows a path as the kernel does and refuses it if anybody but root could
// make it lead elsewhere: every directory and every link on the way, and the file, are
// root's and writable by nobody else.
func trustedFile(path string) (fs.FileInfo, error) {
	here := "/"
	if err := trustedEntry(here, nil); err != nil {
		return nil, err
	}
	rest := strings.Split(filepath.Clean(path), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			here = filepath.Dir(here)
			continue
		}
		next := filepath.Join(here, name)
		info, err := os.Lstat(next)
		if err != nil {
			return nil, fmt.Errorf("verify the executable: %w", err)
		}
		if err := trustedEntry(next, info); err != nil {
			return nil, err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxSymlinks {
				return nil, fmt.Errorf("verify the executable %s: too many symbolic links", path)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return nil, fmt.Errorf("verify the executable: %w", err)
			}
			if filepath.IsAbs(target) {
				here = "/"
			}
			rest = append(strings.Split(target, "/"), rest...)
		case info.IsDir():
			here = next
		case len(rest) == 0:
			return info, nil
		default:
			return nil, fmt.Errorf("verify the executable: %s is not a directory", next)
		}
	}
	return nil, fmt.Errorf("executable %s is not a regular file", path)
}

// trustedEntry looks at one file; info is nil if it has to be fetched.
func trustedEntry(path string, info fs.FileInfo) error {
	if info == nil {
		var err error
		if info, err = os.Lstat(path); err != nil {
			return fmt.Errorf("verify the executable: %w", err)
		}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("verify the executable: the owner of %s cannot be read", path)
	}
	if stat.Uid != 0 {
		return fmt.Errorf("not trusted: %s belongs to %s, who could put another executable there: chown it to root", path, userName(stat.Uid))
	}
	if info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("not trusted: %s is writable by others than root: chmod go-w it, or move the executable", path)
	}
	return nil
}
