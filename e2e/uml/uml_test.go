package uml

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLineWriter(t *testing.T) {
	var out bytes.Buffer
	w := &lineWriter{w: &out}
	for _, p := range []string{"SELinux: CONFIG\r\n", "on", "e\r\ntwo\n", "reboot: System halted\r\n", "three\r\nunended"} {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", p, n, err)
		}
	}
	if got, want := out.String(), "one\ntwo\nthree\n"; got != want {
		t.Errorf("console gives %q, want %q", got, want)
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$x": "'$x'"} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

// need ends the test if this machine cannot run another; with CI set that is a failure.
func need(t *testing.T) {
	t.Helper()
	if missing := Missing(); missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this machine lacks %s", missing)
		}
		t.Skipf("this machine lacks %s", missing)
	}
}

func TestRunGivesStatusOutputAndFiles(t *testing.T) {
	need(t)
	dir, out := t.TempDir(), t.TempDir()
	script := filepath.Join(dir, "payload")
	text := "#!/bin/sh\necho \"word $WORD in $PWD on $1\"\nipvsadm -A -t 192.0.2.1:80 -s rr && ipvsadm -Ln\n" +
		"echo kept > " + OutDir + "/file\ntouch /etc/poise-was-here 2>/dev/null && echo root is writable\nexit 3\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	var console bytes.Buffer
	m := &Machine{Command: []string{script, "it's"}, Env: []string{"WORD=a 'b'"}, Dir: dir, Out: out, Console: &console}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status, err := m.Run(ctx)
	if err != nil || status != 3 {
		t.Fatalf("status %d, %v, want 3\n%s", status, err, console.String())
	}
	for _, want := range []string{"word a 'b' in " + HostRoot + dir + " on it's\n", "TCP  192.0.2.1:80 rr\n"} {
		if !strings.Contains(console.String(), want) {
			t.Errorf("console lacks %q:\n%s", want, console.String())
		}
	}
	if strings.Contains(console.String(), "writable") {
		t.Error("the machine can write to the host's root")
	}
	if b, err := os.ReadFile(filepath.Join(out, "file")); string(b) != "kept\n" {
		t.Errorf("file left for the host: %q, %v", b, err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	need(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "payload")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho begun\nsleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begun := writerFunc(func(p []byte) {
		if bytes.Contains(p, []byte("begun")) {
			cancel()
		}
	})
	t.Setenv("TMPDIR", dir)
	_, err := (&Machine{Command: []string{script}, Dir: dir, Console: begun}).Run(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for kernels(t) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the machine's processes are still there after it was switched off")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// kernels counts the processes of machines whose directories are under TMPDIR.
func kernels(t *testing.T) int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range lines {
		if b, err := os.ReadFile(l); err == nil && bytes.Contains(b, []byte("uml_dir="+os.TempDir()+"/poise-lab-")) {
			n++
		}
	}
	return n
}
