package icontrol

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Keeper remembers tokens beyond the process. One that is killed cannot delete its token;
// without a keeper a process that is started again and again uses up those of its user.
// The client that comes next deletes what it finds there.
type Keeper interface {
	// Load gives what was stored last, nothing at first.
	Load() ([]Secret, error)
	// Store replaces it. It is not called by two goroutines at a time.
	Store(tokens []Secret) error
}

// KeepIn is a Keeper in a file that only its owner can read. Every device and user needs
// one of its own, and it belongs where a restart of the machine empties it.
func KeepIn(file string) Keeper { return fileKeeper(file) }

type fileKeeper string

// maxKept is more than a file of tokens can be long.
const maxKept = 64 << 10

func (k fileKeeper) Load() ([]Secret, error) {
	file, err := os.Open(string(k))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxKept))
	if err != nil {
		return nil, err
	}
	var tokens []Secret
	for _, text := range strings.Fields(string(content)) {
		// Half a line may be left of a full disk.
		if usable(text) {
			tokens = append(tokens, Secret(text))
		}
	}
	return tokens, nil
}

func (k fileKeeper) Store(tokens []Secret) (err error) {
	if len(tokens) == 0 {
		if err := os.Remove(string(k)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	// CreateTemp makes it 0600.
	file, err := os.CreateTemp(filepath.Dir(string(k)), "."+filepath.Base(string(k))+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	var text strings.Builder
	for _, t := range tokens {
		text.WriteString(string(t) + "\n")
	}
	_, err = file.WriteString(text.String())
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), string(k))
}

// keeping is what a session does with its Keeper.
type keeping struct {
	loaded sync.Once
	// storing is held from looking at the tokens to the end of storing them, so that what is
	// stored last is what is.
	storing sync.Mutex
}

// inherit takes over what a process before this one left, once.
func (s *session) inherit() {
	keeper := s.client.options.Keeper
	if keeper == nil {
		return
	}
	s.keeping.loaded.Do(func() {
		tokens, err := keeper.Load()
		if err != nil {
			s.client.options.Logger.Warn("tokens of an earlier process could not be read, they end by themselves", "address", s.client.options.Address, "error", err.Error())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, t := range tokens {
			if usable(string(t)) {
				s.stale = append(s.stale, string(t))
			}
		}
		s.stale = lastOf(s.stale)
		s.known = lastOf(append(s.known, s.stale...))
	})
}

// keep stores what would have to be deleted if this process ended now.
func (s *session) keep() {
	keeper := s.client.options.Keeper
	if keeper == nil {
		return
	}
	s.keeping.storing.Lock()
	defer s.keeping.storing.Unlock()
	s.mu.Lock()
	var tokens []Secret
	for _, t := range append(slices.Clone(s.stale), s.current.text) {
		if t != "" {
			tokens = append(tokens, Secret(t))
		}
	}
	s.mu.Unlock()
	if err := keeper.Store(tokens); err != nil {
		s.client.options.Logger.Warn("the token could not be stored: it is left on the BIG-IP if this process is killed",
			"address", s.client.options.Address, "error", s.client.clean(fmt.Sprint(err)))
	}
}
