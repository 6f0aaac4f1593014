package file

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// events of a directory that may mean another number. IN_MODIFY is not among them: a
	// file is empty for a moment before it is written.
	events = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO |
		unix.IN_ATTRIB | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	// maxLinks is how many symbolic links a path may go through, as in the kernel.
	maxLinks = 40
)

// watches watches files with one inotify instance, which is there as long as there is a
// file to watch.
type watches struct {
	mu    sync.Mutex
	files map[*watch]bool
	// inotify is nil before the first refresh, and after the last remove.
	inotify *os.File
	fd      int
	// names are whom to tell of a name in a watched directory.
	names map[int32]map[string]map[*watch]bool
}

// watch is one path that is watched.
type watch struct {
	path string
	// changed has something when the file may have changed.
	changed chan struct{}
	places  map[place]bool
}

// place is a name in a directory.
type place struct {
	directory int32
	name      string
}

func newWatches() *watches { return &watches{files: map[*watch]bool{}} }

func (ws *watches) add(path string) *watch {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := &watch{path: path, changed: make(chan struct{}, 1), places: map[place]bool{}}
	ws.files[w] = true
	return w
}

func (ws *watches) remove(w *watch) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.files, w)
	for p := range w.places {
		ws.forget(w, p)
	}
	if len(ws.files) == 0 && ws.inotify != nil {
		ws.inotify.Close()
		ws.inotify, ws.names = nil, nil
	}
}

// refresh has the directories watched that the path leads through now. On an error some
// are not.
func (ws *watches) refresh(w *watch) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if err := ws.open(); err != nil {
		return err
	}
	places := map[place]bool{}
	err := ws.walk(w.path, func(directory, name string) error {
		wd, err := unix.InotifyAddWatch(ws.fd, directory, events)
		if err != nil {
			return err
		}
		p := place{int32(wd), name}
		places[p] = true
		if ws.names[p.directory] == nil {
			ws.names[p.directory] = map[string]map[*watch]bool{}
		}
		if ws.names[p.directory][name] == nil {
			ws.names[p.directory][name] = map[*watch]bool{}
		}
		ws.names[p.directory][name][w] = true
		return nil
	})
	for p := range w.places {
		if !places[p] {
			ws.forget(w, p)
		}
	}
	w.places = places
	return err
}

// walk tells of each directory that a path leads through, and the name that it goes on
// with there, before it looks at that name; as far as there is something.
func (ws *watches) walk(path string, each func(directory, name string) error) error {
	at, links := "/", 0
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
		switch err := each(at, part); err {
		case nil:
		case unix.ENOENT, unix.ENOTDIR:
			// It went a moment ago; those above are watched.
			return nil
		default:
			return fmt.Errorf("watch directory %s: %w", at, err)
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(next)
		if err != nil {
			return nil
		}
		if info.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		to, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return nil
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return nil
}

// forget ends the watch of a place for a file.
func (ws *watches) forget(w *watch, p place) {
	names := ws.names[p.directory]
	delete(names[p.name], w)
	if len(names[p.name]) == 0 {
		delete(names, p.name)
	}
	if len(names) == 0 && ws.names[p.directory] != nil {
		delete(ws.names, p.directory)
		// The directory may be gone, and the watch with it.
		_, _ = unix.InotifyRmWatch(ws.fd, uint32(p.directory))
	}
}

// open makes the inotify instance if there is none.
func (ws *watches) open() error {
	if ws.inotify != nil {
		return nil
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("inotify: %w", err)
	}
	ws.fd, ws.inotify, ws.names = fd, os.NewFile(uintptr(fd), "inotify"), map[int32]map[string]map[*watch]bool{}
	go ws.listen(ws.inotify)
	return nil
}

// listen reads events until the instance is closed.
func (ws *watches) listen(inotify *os.File) {
	buffer := make([]byte, 16384)
	for {
		n, err := inotify.Read(buffer)
		if err != nil {
			return
		}
		ws.mu.Lock()
		if ws.inotify == inotify {
			each(buffer[:n], ws.event)
		}
		ws.mu.Unlock()
	}
}

// each takes apart what was read; see inotify(7), struct inotify_event.
func each(b []byte, event func(directory int32, mask uint32, name string)) {
	for len(b) >= unix.SizeofInotifyEvent {
		directory := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		end := unix.SizeofInotifyEvent + int64(binary.NativeEndian.Uint32(b[12:]))
		if end > int64(len(b)) {
			return
		}
		event(directory, mask, strings.TrimRight(string(b[unix.SizeofInotifyEvent:end]), "\x00"))
		b = b[end:]
	}
}

// event tells those whom it concerns.
func (ws *watches) event(directory int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		for w := range ws.files {
			w.tell()
		}
		return
	}
	if name != "" {
		for w := range ws.names[directory][name] {
			w.tell()
		}
		return
	}
	// Of the directory itself. When it is no longer watched its number is not used again.
	for _, files := range ws.names[directory] {
		for w := range files {
			w.tell()
			if mask&unix.IN_IGNORED != 0 {
				for p := range w.places {
					if p.directory == directory {
						delete(w.places, p)
					}
				}
			}
		}
	}
	if mask&unix.IN_IGNORED != 0 {
		delete(ws.names, directory)
	}
}

func (w *watch) tell() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
