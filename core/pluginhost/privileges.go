package pluginhost

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// capabilities by name; the number is the index (capabilities(7)).
var capabilities = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
	"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
	"IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
	"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
	"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
	"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
}

// capability gives the number of a name, with or without CAP_.
func capability(name string) (uintptr, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if i := slices.Index(capabilities[:], short); i >= 0 {
		return uintptr(i), nil
	}
	return 0, fmt.Errorf("there is no capability %q: use a name from capabilities(7), such as NET_ADMIN", name)
}

// powers are what the daemon itself may do, and so what it can hand down.
type powers struct {
	uid       int
	permitted uint64
	effective uint64
}

// currentPowers reads them; without an answer of the kernel there are none.
func currentPowers() powers {
	p := powers{uid: unix.Geteuid()}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return p
	}
	p.permitted = uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)
	p.effective = uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	return p
}

func (p powers) has(capability uintptr) bool { return p.effective&(1<<capability) != 0 }

// changesUser: the daemon can run processes as other users.
func (p powers) changesUser() bool { return p.has(unix.CAP_SETUID) && p.has(unix.CAP_SETGID) }

// privileged: a process of the daemon's may get rights that not every user has.
func (p powers) privileged() bool { return p.uid == 0 || p.permitted != 0 }

// identity is who a process runs as and what it may do.
type identity struct {
	name     string
	uid, gid uint32
	// credential is nil if the daemon's own user stays and groups cannot be changed.
	credential *syscall.Credential
	ambient    []uintptr
	// capabilities are the names of ambient; missing those wanted but not to be had.
	capabilities, missing []string
}

// identify decides who a process runs as. It fails if a user or capability does not
// exist; what the daemon cannot hand down is left out and told in missing.
func (p powers) identify(spec Spec) (identity, error) {
	var id identity
	for _, name := range spec.Capabilities {
		c, err := capability(name)
		if err != nil {
			return id, err
		}
		if p.permitted&(1<<c) == 0 {
			id.missing = append(id.missing, capabilities[c])
			continue
		}
		if !slices.Contains(id.ambient, c) {
			id.ambient = append(id.ambient, c)
			id.capabilities = append(id.capabilities, capabilities[c])
		}
	}
	if spec.KeepsUser || !p.changesUser() {
		id.uid, id.gid = uint32(unix.Geteuid()), uint32(unix.Getegid())
		id.name = userName(id.uid)
	} else {
		u, err := lookupUser(spec.User)
		if err != nil {
			return id, err
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return id, fmt.Errorf("user %s has no usable ids: %w", u.Username, err)
		}
		id.name, id.uid, id.gid = u.Username, uint32(uid), uint32(gid)
	}
	if p.changesUser() {
		// No groups: supplementary ones are dropped.
		id.credential = &syscall.Credential{Uid: id.uid, Gid: id.gid}
	}
	return id, nil
}

// lookupUser finds a user by name or number; empty is poise, else nobody.
func lookupUser(name string) (*user.User, error) {
	if name == "" {
		if u, err := user.Lookup("poise"); err == nil {
			return u, nil
		}
		u, err := user.Lookup("nobody")
		if err != nil {
			return nil, fmt.Errorf("there is neither a user poise nor a user nobody to run as: create one: %w", err)
		}
		return u, nil
	}
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if _, numeric := strconv.ParseUint(name, 10, 32); numeric == nil {
		if u, err := user.LookupId(name); err == nil {
			return u, nil
		}
		return nil, fmt.Errorf("there is no user with the number %s to run as: create one", name)
	}
	return nil, fmt.Errorf("there is no user %s to run as: create it or name another: %w", name, err)
}

func userName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// restrict gives up, on the calling thread only, whatever a child should not inherit:
// the ambient and inheritable sets, all of the bounding set but keep, and new privileges
// through setuid executables. It does as much as the daemon is allowed to.
func restrict(keep []uintptr) {
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	for c := uintptr(0); c < 64; c++ {
		if slices.Contains(keep, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) {
			break // beyond the last one this kernel knows
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) == nil {
		data[0].Inheritable, data[1].Inheritable = 0, 0
		_ = unix.Capset(&header, &data[0])
	}
	_ = unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}
