package pluginhost

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the kernel's limit on the path of a unix socket, without the final 0.
const maxSocketPath = 107

// socketName is what go-plugin calls sockets: "plugin" and up to ten digits.
var socketName = regexp.MustCompile(`^plugin[0-9]+$`)

// ownDir makes a directory that belongs to a user alone. Nothing a plugin could have put
// in its place is followed.
func ownDir(path string, uid, gid uint32) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the plugin's directory: %w", err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the plugin's directory %s: %w", path, err)
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return fmt.Errorf("look at the plugin's directory %s: %w", path, err)
	}
	if stat.Uid != uid || stat.Gid != gid {
		if err := unix.Fchown(fd, int(uid), int(gid)); err != nil {
			return fmt.Errorf("give the plugin's directory %s to user %s (the daemon needs CAP_CHOWN): %w", path, userName(uid), err)
		}
	}
	if stat.Mode&0o777 != 0o700 {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return fmt.Errorf("close the plugin's directory %s to others: %w", path, err)
		}
	}
	return nil
}

// reachable says which directory keeps a user from reaching a path, by the permissions.
func reachable(path string, id identity) error {
	if id.credential == nil || id.uid == 0 {
		return nil
	}
	for dir := path; dir != "/"; dir = filepath.Dir(dir) {
		var stat unix.Stat_t
		if err := unix.Stat(dir, &stat); err != nil {
			return fmt.Errorf("look at the runtime directory %s: %w", dir, err)
		}
		search := uint32(0o001)
		switch {
		case stat.Uid == id.uid:
			search = 0o100
		case stat.Gid == id.gid:
			search = 0o010
		}
		if stat.Mode&search == 0 {
			return fmt.Errorf("user %s, whom the plugin runs as, cannot reach %s: chmod a+x %s, or choose another runtime directory", id.name, path, dir)
		}
	}
	return nil
}

// prepareDirs makes the directory of a process's socket and its runtime directory.
func prepareDirs(plugins string, spec Spec, id identity) (socketDir, runtimeDir string, err error) {
	socketDir = filepath.Join(plugins, spec.Name)
	if longest := len(socketDir) + len("/plugin") + 10; longest > maxSocketPath {
		return "", "", fmt.Errorf("runtime directory is too long by %d characters for the path of a socket: choose a shorter one", longest-maxSocketPath)
	}
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return "", "", fmt.Errorf("make the directory of plugin sockets: %w", err)
	}
	if err := reachable(plugins, id); err != nil {
		return "", "", err
	}
	if err := ownDir(socketDir, id.uid, id.gid); err != nil {
		return "", "", err
	}
	sweep(socketDir)
	if spec.RuntimeDir == "" {
		return socketDir, socketDir, nil
	}
	if runtimeDir, err = filepath.Abs(spec.RuntimeDir); err != nil {
		return "", "", fmt.Errorf("find the plugin's directory %s: %w", spec.RuntimeDir, err)
	}
	return socketDir, runtimeDir, ownDir(runtimeDir, id.uid, id.gid)
}

// sweepAll removes dead sockets of all plugins, and directories that are empty then.
func sweepAll(plugins string) {
	entries, err := os.ReadDir(plugins)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			dir := filepath.Join(plugins, e.Name())
			sweep(dir)
			_ = os.Remove(dir) // fails if anything is in it
		}
	}
}

// sweep removes sockets in a directory that nobody listens on. Sockets of a process
// that lives on, and files of the plugin's own, stay.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !socketName.MatchString(e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if e.Type()&fs.ModeSocket != 0 {
			conn, err := net.DialTimeout("unix", path, time.Second)
			if err == nil {
				_ = conn.Close()
				continue
			}
			if !errors.Is(err, unix.ECONNREFUSED) {
				continue
			}
		} else if info, err := e.Info(); err != nil || !e.Type().IsRegular() || info.Size() > 0 {
			continue // go-plugin's placeholder is an empty file
		}
		_ = os.Remove(path)
	}
}

// checkSocket refuses an address that is not a socket in the process's own directory: a
// plugin must not choose whom the daemon speaks to.
func checkSocket(dir, network, address string) error {
	if network != "unix" {
		return fmt.Errorf("it listens on %s %s: plugins listen on a unix socket in PLUGIN_UNIX_SOCKET_DIR", network, address)
	}
	if filepath.Join(dir, filepath.Base(address)) != address || strings.ContainsRune(address, 0) {
		return fmt.Errorf("it listens on %s: plugins listen in PLUGIN_UNIX_SOCKET_DIR, which is %s", address, dir)
	}
	info, err := os.Lstat(address)
	if err != nil {
		return fmt.Errorf("find its socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("its address %s is not a socket", address)
	}
	return nil
}
