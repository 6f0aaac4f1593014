package misc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// defaultUser runs commands, where there is such a user, as keepalived has it.
const defaultUser = "keepalived_script"

// lookup finds a user by name; a variable for tests.
var lookup = user.Lookup

// identity is who a command runs as.
type identity struct {
	name     string
	uid, gid uint32
}

func (i identity) String() string { return fmt.Sprintf("user %s", i.name) }

// identify finds user and group, by name or number, in /etc/passwd and /etc/group.
func identify(userName, groupName string) (identity, error) {
	u, err := findUser(userName)
	if err != nil {
		return identity{}, err
	}
	gid := u.Gid
	if groupName != "" {
		g, err := user.LookupGroup(groupName)
		if err != nil {
			if g, err = user.LookupGroupId(groupName); err != nil {
				return identity{}, noSuch("group", groupName, err)
			}
		}
		gid = g.Gid
	}
	uidNumber, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gidNumber, gidErr := strconv.ParseUint(gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return identity{}, fmt.Errorf("user %s has no usable ids: %w", u.Username, err)
	}
	return identity{name: u.Username, uid: uint32(uidNumber), gid: uint32(gidNumber)}, nil
}

func findUser(name string) (*user.User, error) {
	if name == "" {
		u, err := lookup(defaultUser)
		var missing user.UnknownUserError
		switch {
		case err == nil:
			return u, nil
		case !errors.As(err, &missing) && !errors.Is(err, fs.ErrNotExist):
			// There may be one: nothing is run as root because nobody could look.
			return nil, fmt.Errorf("find user %s: %w", defaultUser, err)
		}
		// The process's own user: root, unless the daemon was started by somebody else. It
		// needs no entry.
		uid := strconv.Itoa(os.Geteuid())
		if u, err := user.LookupId(uid); err == nil {
			return u, nil
		}
		return &user.User{Uid: uid, Gid: strconv.Itoa(os.Getegid()), Username: uid}, nil
	}
	u, err := lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, noSuch("user", name, err)
		}
	}
	return u, nil
}

// noSuch tells a name that is not there from a file that cannot be read.
func noSuch(kind, name string, err error) error {
	var badUser user.UnknownUserIdError
	var badGroup user.UnknownGroupIdError
	if errors.As(err, &badUser) || errors.As(err, &badGroup) || errors.Is(err, strconv.ErrSyntax) {
		return fmt.Errorf("there is no %s %s: create it or name another", kind, name)
	}
	return fmt.Errorf("find %s %s: %w", kind, name, err)
}

// credential is what the new process is given: as with keepalived, its group is its only
// one. Who is not root and stays who he is needs none, and may not set any.
func (i identity) credential() *syscall.Credential {
	if euid := os.Geteuid(); euid != 0 && uint32(euid) == i.uid && uint32(os.Getegid()) == i.gid {
		return nil
	}
	return &syscall.Credential{Uid: i.uid, Gid: i.gid, Groups: []uint32{i.gid}}
}
