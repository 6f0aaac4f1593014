package pluginhost

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	b := Backoff{Min: 200 * time.Millisecond, Max: time.Second}
	for failures, want := range []time.Duration{0, 0, 200, 400, 800, 1000, 1000} {
		if got := b.delay(failures, 0); got != want*time.Millisecond {
			t.Errorf("after %d failures %s, want %d ms", failures, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := Backoff{Min: time.Duration(rapid.Int64().Draw(t, "min")), Max: time.Duration(rapid.Int64().Draw(t, "max"))}
		failures, jitter := rapid.IntRange(0, 200).Draw(t, "failures"), rapid.Float64Range(0, 0.999).Draw(t, "jitter")
		d, sure := b.delay(failures, jitter), b.delay(failures, 0)
		if d < 0 || d > max(b.Max, 0) || d > sure || failures <= 1 && d != 0 {
			t.Fatalf("%+v after %d failures: %s", b, failures, d)
		}
		if next := b.delay(failures+1, 0); next < sure {
			t.Fatalf("%+v: %s after %d failures and %s after one more", b, sure, failures, next)
		}
	})
}

func TestSilence(t *testing.T) {
	start := time.Now()
	for _, test := range []struct {
		name string
		// looks at these times, in ms; beats are those of one every 100 ms up to last.
		looks []int
		last  int
		want  bool
	}{
		{"beats go on", ticks(100, 5000), 5000, false},
		{"beats end", ticks(100, 2200), 1000, true},
		{"not yet", ticks(100, 1900), 1000, false},
		{"never one", ticks(100, 1100), 0, true},
		{"the watcher stood still", append(ticks(100, 900), 10_000, 10_100), 0, false},
		{"and then the process", append(ticks(100, 900), append([]int{10_000}, shift(ticks(100, 1000), 10_000)...)...), 0, true},
		{"it stood still again and again", []int{900, 1800, 2700, 3600, 4500}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := silence{interval: 100 * time.Millisecond, timeout: time.Second}
			s.reset(start)
			got := false
			for _, ms := range test.looks {
				beat := start.Add(time.Duration(min(ms, test.last)/100*100) * time.Millisecond)
				got = got || s.look(start.Add(time.Duration(ms)*time.Millisecond), beat)
			}
			if got != test.want {
				t.Errorf("given up: %v, want %v (silent for %s)", got, test.want, s.silent)
			}
		})
	}
}

func ticks(every, until int) []int {
	var out []int
	for ms := every; ms <= until; ms += every {
		out = append(out, ms)
	}
	return out
}

func shift(in []int, by int) []int {
	for i := range in {
		in[i] += by
	}
	return in
}

// A process whose beats end is noticed within its timeout and one tick, whenever that is.
func TestSilenceIsNoticedInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		timeout := time.Duration(rapid.IntRange(50, 10_000).Draw(t, "timeout")) * time.Millisecond
		s := silence{interval: timeout / 4, timeout: timeout}
		start := time.Now()
		s.reset(start)
		last := start.Add(time.Duration(rapid.Int64Range(1, int64(20*timeout)).Draw(t, "last")))
		beat := start
		for now := start; ; {
			now = now.Add(s.tick())
			for beat.Add(s.interval).Before(now) && beat.Add(s.interval).Before(last) {
				beat = beat.Add(s.interval)
			}
			if gaveUp := s.look(now, beat); gaveUp {
				if d := now.Sub(beat); d < timeout || d > timeout+s.tick() {
					t.Fatalf("given up %s after the last beat, with a timeout of %s", d, timeout)
				}
				return
			}
		}
	})
}

func logged(lines string) string {
	var b bytes.Buffer
	o := &output{logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: &b, DisableTime: true})}
	o.stderr(strings.NewReader(lines))
	return b.String()
}

func TestOutput(t *testing.T) {
	for _, test := range []struct{ name, in, want string }{
		{"hclog", `{"@level":"warn","@message":"it is late","@module":"x","@timestamp":"2026-11-23T21:00:00.000000Z","after":"3s","n":1234567,"list":[1,"a"]}`,
			"[WARN]  it is late: after=3s list=\"[1,\\\"a\\\"]\" n=1234567\n"},
		{"no level", `{"@message":"hello"}`, "[INFO]  hello\n"},
		{"off is no level", `{"@message":"hello","@level":"off"}`, "[INFO]  hello\n"},
		{"a message that is no text", `{"@message":5}`, "[DEBUG] {\"@message\":5}\n"},
		{"two values", `{"@message":"a"} {"@message":"b"}`, "[DEBUG] {\"@message\":\"a\"} {\"@message\":\"b\"}\n"},
		{"JSON of others", `{"msg":"x"}`, "[DEBUG] {\"msg\":\"x\"}\n"},
		{"prefix", "[ERROR] oh no", "[ERROR] oh no\n"},
		{"plain", "hello", "[DEBUG] hello\n"},
		{"empty", "\n\n", ""},
		{"panic", "panic: oh no\n\ngoroutine 1\n{\"@message\":\"x\"}\nhello", "[ERROR] panic: oh no\n[ERROR] goroutine 1\n[INFO]  x\n[DEBUG] hello\n"},
		{"terminal codes", "\x1b[31mred\x1b[0m \xff", "[DEBUG] [31mred[0m \uFFFD\n"},
		{"forged line", `{"@message":"a\n2026 [ERROR] forged","k\nk":"v\nv"}`, "[INFO]  a 2026 [ERROR] forged: k k=\"v v\"\n"},
		{"long line", strings.Repeat("x", 3*maxLine) + "\nnext", "[DEBUG] " + strings.Repeat("x", maxLine) + "\n[DEBUG] next\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := logged(test.in); got != test.want {
				t.Errorf("logged %.300q, want %.300q", got, test.want)
			}
		})
	}
}

func TestStdoutPassesTheHandshake(t *testing.T) {
	var b bytes.Buffer
	o := &output{logger: hclog.New(&hclog.LoggerOptions{Output: &b, DisableTime: true})}
	for _, test := range []struct{ in, first string }{
		{"1|1|unix|/x|grpc|\nstray\n", "1|1|unix|/x|grpc|\n"},
		{strings.Repeat("x", maxHandshake) + "\nstray\n", ""},
		{"", ""},
	} {
		b.Reset()
		r, w := io.Pipe()
		got := make(chan string)
		go func() {
			first, _ := io.ReadAll(r)
			got <- string(first)
		}()
		o.stdout(strings.NewReader(test.in), w)
		if first := <-got; first != test.first {
			t.Errorf("passed on %.80q, want %q", first, test.first)
		}
		if test.in != "" && !strings.Contains(b.String(), "[WARN]  stray output of the plugin: line=stray") {
			t.Errorf("logged %.200q", b.String())
		}
	}
}

func TestStrayWriter(t *testing.T) {
	var b bytes.Buffer
	w := strayWriter{output: &output{logger: hclog.New(&hclog.LoggerOptions{Output: &b, DisableTime: true})}}
	for _, chunk := range []string{"one\r\ntw", "o\n", "\nthree", strings.Repeat("x", maxLine)} {
		if n, err := w.Write([]byte(chunk)); n != len(chunk) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got := b.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, "line=one\n") || !strings.Contains(got, "line=two\n") {
		t.Errorf("logged %.300q", got)
	}
}

func FuzzOutput(f *testing.F) {
	for _, seed := range []string{"", "panic: x\ny", `{"@message":5,"@level":[]}`, `{"@level":"warn","@message":"m","a":{"b":[null]}}`, "[WARN] x", "\x1b]0;x\a", "{}{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out := logged(in)
		for _, r := range strings.ReplaceAll(out, "\n", "") {
			if unicode.IsControl(r) {
				t.Fatalf("control character %q in the log: %q", r, out)
			}
		}
		if lines := strings.Count(in, "\n") + 1; strings.Count(out, "\n") > lines {
			t.Fatalf("%d lines become %q", lines, out)
		}
	})
}

func TestSweep(t *testing.T) {
	plugins := t.TempDir()
	dir := filepath.Join(plugins, "a")
	empty := filepath.Join(plugins, "empty")
	for _, d := range []string{dir, empty} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	listen := func(name string) *net.UnixListener {
		t.Helper()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, name), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		return l
	}
	alive := listen("plugin1")
	defer alive.Close()
	listen("plugin2").Close()
	listen("handover").Close()
	listen("empty.sock").Close()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("plugin3", "")
	write("plugin4", "something")
	write("state", "")
	sweepAll(plugins)
	entries, _ := filepath.Glob(filepath.Join(plugins, "*/*"))
	var names []string
	for _, e := range entries {
		names = append(names, filepath.Base(e))
	}
	if got, want := strings.Join(names, " "), "empty.sock handover plugin1 plugin4 state"; got != want {
		t.Errorf("left are %s, want %s", got, want)
	}
	if _, err := os.Stat(empty); err == nil {
		t.Error("the empty directory is there still")
	}
	sweepAll(filepath.Join(plugins, "nowhere"))
}

func TestCheckSocket(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "plugin1"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("plugin1", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ network, address, reason string }{
		{"unix", filepath.Join(dir, "plugin1"), ""},
		{"unix", dir + "/x/../plugin1", "listen in PLUGIN_UNIX_SOCKET_DIR"},
		{"tcp", "127.0.0.1:80", "listens on tcp"},
		{"unix", "/run/docker.sock", "listen in PLUGIN_UNIX_SOCKET_DIR"},
		{"unix", "plugin1", "listen in PLUGIN_UNIX_SOCKET_DIR"},
		{"unix", dir + "/../plugin1", "listen in PLUGIN_UNIX_SOCKET_DIR"},
		{"unix", filepath.Join(dir, "file"), "is not a socket"},
		{"unix", filepath.Join(dir, "link"), "is not a socket"},
		{"unix", filepath.Join(dir, "gone"), "no such file"},
	} {
		err := checkSocket(dir, test.network, test.address)
		if (err == nil) != (test.reason == "") || err != nil && !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s %s: %v, want %q", test.network, test.address, err, test.reason)
		}
	}
}

func TestOwnDirFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if err := ownDir(link, uid, gid); err == nil {
		t.Error("a symbolic link was followed")
	}
	if info, _ := os.Stat(target); info.Mode().Perm() != 0o755 {
		t.Errorf("the mode of its target is %s", info.Mode())
	}
	if err := ownDir(target, uid, gid); err != nil {
		t.Error(err)
	}
	if info, _ := os.Stat(target); info.Mode().Perm() != 0o700 {
		t.Errorf("the mode is %s, want 0700", info.Mode())
	}
}

func TestRuntimeDirTooLong(t *testing.T) {
	_, _, err := prepareDirs("/"+strings.Repeat("x", 100), Spec{Name: "a"}, identity{})
	if err == nil || !strings.Contains(err.Error(), "too long by") {
		t.Errorf("says %v", err)
	}
}
