package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/poise-lb/poise/core/model"
)

const (
	fileName   = "state.json"
	tempPrefix = fileName + ".new-"
)

// Store is an open state directory. Its methods may be called from any goroutine.
type Store struct {
	dir  string
	lock *os.File

	mu      sync.Mutex
	state   *state
	written []byte // what is on disk; nil: nothing yet
}

// Open takes the state directory, which is made if need be, for this process. problems
// are what an operator should be told though it opened.
func Open(dir string) (s *Store, problems []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the state directory: %w; choose another one with --state-dir", err)
	}
	held, err := lock(dir)
	if err != nil {
		return nil, nil, err
	}
	s = &Store{dir: dir, lock: held}
	problems, err = s.load()
	if err != nil {
		_ = held.Close()
		return nil, nil, err
	}
	return s, problems, nil
}

// Close gives the directory back. The store must not be used afterwards.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) load() (problems []string, err error) {
	s.state = &state{overrides: map[model.RealServerKey]model.Override{}}
	// What a write that was cut short has left; nobody else writes here.
	if left, err := filepath.Glob(filepath.Join(s.dir, tempPrefix+"*")); err == nil {
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
	path := filepath.Join(s.dir, fileName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	loaded, err := decode(data)
	switch {
	case err == nil:
		s.state, s.written = loaded, data
		return nil, nil
	case errors.Is(err, errNewer):
		return nil, fmt.Errorf("state file %s: %w; upgrade poise, or move the file away to start without overrides", path, err)
	}
	aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000000000")
	if moveErr := os.Rename(path, aside); moveErr != nil {
		return nil, fmt.Errorf("state file %s cannot be read (%w) and not be set aside (%w): move it away", path, err, moveErr)
	}
	return []string{fmt.Sprintf("state file %s cannot be read: %v; it is now %s, and overrides and what poise made earlier are forgotten: "+
		"set the overrides again, and look in ipvsadm -Ln for virtual servers that are no longer configured", path, err, aside)}, nil
}

// Overrides are the operators' wishes; the map is the caller's.
func (s *Store) Overrides() map[model.RealServerKey]model.Override {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.state.overrides)
}

// Override is the operators' wish for a real server, the zero value for none.
func (s *Store) Override(key model.RealServerKey) model.Override {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.overrides[key]
}

// SetOverride keeps an operator's wish; the zero value takes it away. With an error
// nothing has changed.
func (s *Store) SetOverride(key model.RealServerKey, o model.Override) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := &state{overrides: maps.Clone(s.state.overrides), owned: s.state.owned}
	if o.Admin == model.Ready && o.Weight == nil {
		delete(next.overrides, key)
	} else {
		next.overrides[key] = o
	}
	if err := s.write(next); err != nil {
		return fmt.Errorf("keep the override of %s: %w", key, err)
	}
	return nil
}

// Owned is what of the forwarder's table is ours; its lists are the caller's.
func (s *Store) Owned() Owned {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.owned.clone()
}

// SetOwned keeps what is ours. It is cheap when nothing differs. With an error nothing
// has changed. What is about to be made is kept before it is made, and what was removed
// is forgotten after it is gone: between the two it may or may not be there.
func (s *Store) SetOwned(o Owned) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Asked for twice with every Apply: most often nothing differs, not even the order.
	if s.written != nil && s.state.owned.equal(o) {
		return nil
	}
	if err := s.write(&state{overrides: s.state.overrides, owned: o.clone()}); err != nil {
		return fmt.Errorf("keep what is ours of the table: %w", err)
	}
	return nil
}

func (o Owned) clone() Owned {
	o.Services, o.RealServers = slices.Clone(o.Services), slices.Clone(o.RealServers)
	return o
}

func (o Owned) equal(p Owned) bool {
	return o.Sync == p.Sync && (o.RealServers == nil) == (p.RealServers == nil) &&
		slices.Equal(o.Services, p.Services) && slices.Equal(o.RealServers, p.RealServers)
}

// write makes the state that which is on disk and in force.
func (s *Store) write(next *state) error {
	data, err := next.encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(data, s.written) {
		if err := replace(filepath.Join(s.dir, fileName), data); err != nil {
			s.written = nil // whichever of the two it is now
			return err
		}
	}
	s.state, s.written = next, data
	return nil
}

// replace puts a file in the place of another so that after a crash there is the one
// or the other, whole.
func replace(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix+"*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
