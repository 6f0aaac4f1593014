package file

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// watched is a check that runs.
type watched struct {
	t  *testing.T
	mu sync.Mutex
	// results are what was reported, in order.
	results []sdk.Result
	// end ends it and waits for that.
	end func()
}

func watchFile(t *testing.T, c sdk.Checker, known sdk.Known, parameters string) *watched {
	t.Helper()
	p, err := c.Parse(json.RawMessage(parameters))
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.(sdk.Watcher).Watch(ctx, sdk.Target{Known: known, Trace: t.Logf}, func(r sdk.Result) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results = append(w.results, r)
		})
	}()
	w.end = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(w.end)
	return w
}

func (w *watched) last() sdk.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.results) == 0 {
		return sdk.Result{Reason: "nothing yet"}
	}
	return w.results[len(w.results)-1]
}

// becomes waits for a contribution.
func (w *watched) becomes(want int64) {
	w.t.Helper()
	w.until(fmt.Sprintf("up with %d", want), func(r sdk.Result) bool { return r.Outcome == sdk.Up && r.Weight.Value == want })
}

func (w *watched) until(what string, is func(sdk.Result) bool) {
	w.t.Helper()
	// Less than readAgain, so that it is the watch that has told.
	for deadline := time.Now().Add(readAgain * 4 / 5); !is(w.last()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("got %v, want %s", w.last(), what)
		}
	}
}

// must does something to files.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// TestWatch: whatever way a file comes, changes and goes.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "value")
	w := watchFile(t, New(), sdk.Known{}, fmt.Sprintf(`{"path":%q}`, path))
	w.becomes(0)
	n := int64(0)
	step := func(what string, do func(text string)) {
		t.Helper()
		n++
		do(fmt.Sprint(n))
		w.becomes(n)
		if t.Failed() {
			t.Fatal(what)
		}
	}
	gone := func(do func()) {
		t.Helper()
		do()
		w.becomes(0)
	}
	step("directories and file made", func(text string) {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		write(t, path, text)
	})
	step("written", func(text string) { write(t, path, text) })
	step("renamed over", func(text string) {
		write(t, path+".new", text)
		must(t, os.Rename(path+".new", path))
	})
	gone(func() { must(t, os.Remove(path)) })
	step("made again", func(text string) { write(t, path, text) })
	gone(func() { must(t, os.Rename(path, path+".old")) })
	step("linked", func(text string) {
		write(t, path+".old", text)
		must(t, os.Link(path+".old", path))
	})
	gone(func() { must(t, os.RemoveAll(filepath.Join(dir, "a"))) })
	step("directory made again", func(text string) {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		write(t, path, text)
	})
	gone(func() { must(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c"))) })
	write(t, filepath.Join(dir, "c/b/value"), "77")
	step("directory replaced", func(text string) {
		must(t, os.MkdirAll(filepath.Join(dir, "d/b"), 0o755))
		write(t, filepath.Join(dir, "d/b/value"), text)
		must(t, os.Symlink("d", filepath.Join(dir, "a")))
	})
	step("written behind a link", func(text string) { write(t, filepath.Join(dir, "d/b/value"), text) })
	step("link turned", func(text string) {
		must(t, os.MkdirAll(filepath.Join(dir, "e/b"), 0o755))
		write(t, filepath.Join(dir, "e/b/value"), text)
		must(t, os.Symlink("e", filepath.Join(dir, "new")))
		must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "a")))
	})
	step("file is a link", func(text string) {
		write(t, filepath.Join(dir, "elsewhere"), text)
		must(t, os.Remove(path))
		must(t, os.Symlink(filepath.Join(dir, "elsewhere"), path))
	})
	step("written behind that", func(text string) { write(t, filepath.Join(dir, "elsewhere"), text) })
	must(t, os.Remove(path))
	must(t, os.Mkdir(path, 0o755))
	w.until("unknown", func(r sdk.Result) bool {
		return r.Outcome == sdk.Unknown && strings.Contains(r.Reason, "is not a file")
	})
	must(t, os.Remove(path))
	step("a file again", func(text string) { write(t, path, text) })
}

// TestNoHalves: a file that is written in place is not read while it is empty.
func TestNoHalves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value")
	write(t, path, "5")
	w := watchFile(t, New(), sdk.Known{}, fmt.Sprintf(`{"path":%q,"weight":0,"reverse":true}`, path))
	w.until("up", func(r sdk.Result) bool { return r.Outcome == sdk.Up })
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	_, err = f.WriteString("6")
	must(t, err)
	must(t, f.Close())
	time.Sleep(50 * time.Millisecond)
	w.end()
	if len(w.results) != 1 {
		t.Errorf("reported %v, want up once", w.results)
	}
}

func TestDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value")
	w := watchFile(t, New(), sdk.Known{}, fmt.Sprintf(`{"path":%q,"weight":0}`, path))
	w.becomes(0)
	write(t, path, "1")
	w.until("down", func(r sdk.Result) bool { return r.Outcome == sdk.Down && r.Reason == path+" holds 1" })
	write(t, path, "garbage")
	w.becomes(0)
}

// TestUnreadable: the number is not known, which is not the same as 0.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value")
	must(t, os.Symlink(path, path))
	w := watchFile(t, New(), sdk.Known{}, fmt.Sprintf(`{"path":%q}`, path))
	w.until("unknown", func(r sdk.Result) bool {
		return r.Outcome == sdk.Unknown && r.Reason == "open "+path+": too many levels of symbolic links"
	})
	must(t, os.Remove(path))
	w.becomes(0)
}

func TestInit(t *testing.T) {
	tests := []struct {
		name, before, parameters string
		known                    sdk.Outcome
		want                     string
		weight                   int64
	}{
		{"made", "", `"init":4,"weight":3`, sdk.Unknown, "4\n", 12},
		{"kept", "9\n", `"init":4`, sdk.Unknown, "9\n", 9},
		{"overwritten", "9\n", `"init":4,"overwrite":true`, sdk.Unknown, "4\n", 4},
		{"made by overwrite", "", `"init":-4,"overwrite":true`, sdk.Unknown, "-4\n", -4},
		{"known before", "9\n", `"init":4,"overwrite":true`, sdk.Up, "9\n", 9},
		{"known before, and gone", "", `"init":4`, sdk.Down, "", 0},
		{"inferred", "9\n", `"init":4,"overwrite":true`, sdk.Up, "4\n", 4},
		{"zero", "", `"init":0`, sdk.Unknown, "0\n", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "value")
			if test.before != "" {
				write(t, path, test.before)
			}
			w := watchFile(t, New(), sdk.Known{Outcome: test.known, Inferred: test.name == "inferred"}, fmt.Sprintf(`{"path":%q,%s}`, path, test.parameters))
			w.becomes(test.weight)
			text, _ := os.ReadFile(path)
			if string(text) != test.want {
				t.Errorf("the file holds %q, want %q", text, test.want)
			}
		})
	}
}

// TestManyChecks: of one file and of many, they share one inotify instance, and leave
// nothing.
func TestManyChecks(t *testing.T) {
	dir := t.TempDir()
	before := descriptors(t)
	ignore := goleak.IgnoreCurrent()
	c := New()
	var all []*watched
	for i := range 300 {
		path := filepath.Join(dir, fmt.Sprint("value", i%3))
		all = append(all, watchFile(t, c, sdk.Known{}, fmt.Sprintf(`{"path":%q}`, path)))
	}
	for _, w := range all {
		w.becomes(0)
	}
	if now := descriptors(t); now > before+2 {
		t.Errorf("%d descriptors are open with 300 checks, %d before", now, before)
	}
	for i := range 3 {
		write(t, filepath.Join(dir, fmt.Sprint("value", i)), fmt.Sprint(i+1))
	}
	for i, w := range all {
		w.becomes(int64(i%3) + 1)
	}
	for _, w := range all[1:] {
		w.end()
	}
	write(t, filepath.Join(dir, "value0"), "9")
	all[0].becomes(9)
	all[0].end()
	ws := c.(*checker).watches
	if ws.inotify != nil || len(ws.files) != 0 || len(ws.names) != 0 {
		t.Errorf("left: %v, %d files, %d directories", ws.inotify, len(ws.files), len(ws.names))
	}
	goleak.VerifyNone(t, ignore)
	again := watchFile(t, c, sdk.Known{}, fmt.Sprintf(`{"path":%q}`, filepath.Join(dir, "value1")))
	again.becomes(2)
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

// TestWithoutInotify: what cannot be watched is read every second.
func TestWithoutInotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value")
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	none := before
	none.Cur = 0
	ws := newWatches()
	w := ws.add(path)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	err := ws.refresh(w)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	if err == nil || !strings.Contains(err.Error(), "inotify: ") {
		t.Errorf("got %v, want an error of inotify", err)
	}
	must(t, ws.refresh(w))
	ws.remove(w)
}

// TestOverflow: when the kernel has lost events, every file is read again.
func TestOverflow(t *testing.T) {
	ws := newWatches()
	w := ws.add("/nonexistent")
	must(t, ws.refresh(w))
	b := make([]byte, unix.SizeofInotifyEvent)
	binary.NativeEndian.PutUint32(b, ^uint32(0))
	binary.NativeEndian.PutUint32(b[4:], unix.IN_Q_OVERFLOW)
	ws.mu.Lock()
	each(b, ws.event)
	ws.mu.Unlock()
	if len(w.changed) != 1 {
		t.Error("nobody was told")
	}
	ws.remove(w)
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, unix.SizeofInotifyEvent+16))
	f.Fuzz(func(t *testing.T, b []byte) {
		events := 0
		each(b, func(int32, uint32, string) { events++ })
		if events > len(b)/unix.SizeofInotifyEvent {
			t.Errorf("%d events in %d bytes", events, len(b))
		}
	})
}

func TestParse(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		parameters, path string
		warning          bool
	}{
		{``, "/path", false},
		{`{"path":"value"}`, "/path", false},
		{`{"path":"/a\u0000"}`, "/path", false},
		{`{"path":"/tmp/x","weight":2147483648}`, "/weight", false},
		{`{"path":"/tmp/x","weight":-2147483648}`, "/weight", false},
		{`{"path":"/tmp/x","init":2147483648}`, "/init", false},
		{`{"path":"/tmp/x","overwrite":true}`, "/overwrite", false},
		{`{"path":"/tmp/x","init_file":1}`, "/init_file", false},
		{fmt.Sprintf(`{"path":%q}`, dir), "/path", true},
		{`{"path":"/nonexistent/value"}`, "/path", true},
	}
	for _, test := range tests {
		problems := (&checker{}).Validate(json.RawMessage(test.parameters))
		if len(problems) != 1 || problems[0].Path != test.path || problems[0].Warning != test.warning {
			t.Errorf("validate %s: %v, want one problem at %s", test.parameters, problems, test.path)
		}
		if _, err := New().Parse(json.RawMessage(test.parameters)); (err == nil) != test.warning {
			t.Errorf("parse %s: %v", test.parameters, err)
		}
	}
	if problems := (&checker{}).Validate(json.RawMessage(`{"path":"/tmp/poise-no-such-file","weight":0,"reverse":true,"init":0}`)); len(problems) != 0 {
		t.Errorf("got %v, want none", problems)
	}
}

func TestConform(t *testing.T) {
	c := plugintest.Serve(t, sdk.Plugin{Name: "script", Version: "test", Checkers: map[string]sdk.Checker{Type: New()}})
	c.Configure(t, "")
	plugintest.Conform(t, c, map[string]string{Type: `{"path":"/tmp/poise-no-such-file"}`})
}
