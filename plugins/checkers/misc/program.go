package misc

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// searchPath is the PATH of commands, and where one without a slash is looked for.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxLinks is how many symbolic links a path may go through, as in the kernel.
const maxLinks = 40

// find gives the file that a command names.
func find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range filepath.SplitList(searchPath) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %s in %s: install it, or give its path", name, searchPath)
}

// trusted says why others than root can change what a path leads to. Every directory on
// the way counts, those behind symbolic links too.
func trusted(path string) error {
	links := 0
	at := "/"
	if err := onlyRoot(at); err != nil {
		return err
	}
	rest := strings.Split(path, "/")
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			// A link can be changed only by who can write to its directory, which has
			// been looked at.
			if links++; links > maxLinks {
				return fmt.Errorf("there are too many symbolic links at %s", next)
			}
			to, err := os.Readlink(next)
			if err != nil {
				return err
			}
			if filepath.IsAbs(to) {
				at = "/"
			}
			rest = append(strings.Split(to, "/"), rest...)
			continue
		}
		if err := onlyRoot(next); err != nil {
			return err
		}
		at = next
	}
	if info, err := os.Stat(at); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", at)
	}
	return nil
}

// onlyRoot says why others than root can write to a file or directory.
func onlyRoot(path string) error {
	var s unix.Stat_t
	if err := unix.Lstat(path, &s); err != nil {
		return &fs.PathError{Op: "look at", Path: path, Err: err}
	}
	switch {
	case s.Uid != 0:
		return fmt.Errorf("%s belongs to user %d", path, s.Uid)
	case s.Mode&unix.S_IWOTH != 0:
		return fmt.Errorf("everybody can write to %s", path)
	case s.Mode&unix.S_IWGRP != 0 && s.Gid != 0:
		return fmt.Errorf("group %d can write to %s", s.Gid, path)
	case s.Mode&unix.S_IWGRP != 0:
		// With an access control list, the group's bits are the most that anybody in it has.
		if _, err := unix.Lgetxattr(path, "system.posix_acl_access", nil); err == nil {
			return fmt.Errorf("%s has an access control list that lets others write to it", path)
		}
	}
	return nil
}

// explain says why the kernel would not run a program, where its own word is not enough.
func explain(path string, who identity, err error) string {
	switch {
	case errors.Is(err, unix.ENOENT):
		if _, missing := os.Stat(path); missing != nil {
			return "there is no such file"
		}
		if name, found := interpreter(path); found {
			return fmt.Sprintf("its interpreter %s is not there", name)
		}
		return "a file that it needs is not there (its loader?)"
	case errors.Is(err, unix.ENOEXEC):
		return "it is neither a program nor has it a line #! that names its interpreter"
	case errors.Is(err, unix.EACCES):
		return "permission denied: the file or its interpreter is not executable for this user, or a directory on its path is closed to it"
	case errors.Is(err, unix.EPERM):
		return "operation not permitted: changing to another user takes CAP_SETUID and CAP_SETGID"
	}
	return err.Error()
}

// interpreter reads the name in a script's first line.
func interpreter(path string) (string, bool) {
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, 512).ReadSlice('\n')
	text, isScript := strings.CutPrefix(string(line), "#!")
	words := strings.Fields(text)
	if !isScript || len(words) == 0 {
		return "", false
	}
	return words[0], true
}
