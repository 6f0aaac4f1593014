package control

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func listen(t *testing.T, dir string) net.Listener {
	t.Helper()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestListenMakesTheDirectoryAndAPrivateSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "poise")
	l := listen(t, dir)
	info, err := os.Stat(filepath.Join(dir, SocketName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %s, want a socket with 0600", info.Mode())
	}
	if got := l.Addr().String(); got != filepath.Join(dir, SocketName) {
		t.Errorf("address %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".c*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	l.Close()
	if _, err := os.Stat(filepath.Join(dir, SocketName)); !os.IsNotExist(err) {
		t.Errorf("after close: %v, want no socket", err)
	}
	listen(t, dir)
}

func TestListenNamesTheOtherDaemon(t *testing.T) {
	dir := t.TempDir()
	listen(t, dir)
	_, err := Listen(dir)
	want := "is in use by poised, process " + strconv.Itoa(os.Getpid()) + ": "
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("second daemon: %v; want %q", err, want)
	}
	// Somebody cleaned the directory but for the socket: it still answers.
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("second daemon without a lock file: %v; want %q", err, want)
	}
}

// A process that is killed leaves its socket, and another one takes over.
func TestListenReplacesTheSocketOfADeadDaemon(t *testing.T) {
	if dir := os.Getenv("POISE_TEST_LISTEN"); dir != "" {
		if _, err := Listen(dir); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("listening\n")
		select {}
	}
	dir := t.TempDir()
	other := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	other.Env = append(os.Environ(), "POISE_TEST_LISTEN="+dir)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "listening\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	want := "process " + strconv.Itoa(other.Process.Pid) + ":"
	if _, err := Listen(dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("while it lives: %v; want %q", err, want)
	}
	_ = other.Process.Kill()
	_ = other.Wait()
	if _, err := os.Stat(filepath.Join(dir, SocketName)); err != nil {
		t.Fatalf("the socket of the dead process is gone: this test shows nothing: %v", err)
	}
	l := listen(t, dir)
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatalf("the new socket does not answer: %v", err)
	}
	conn.Close()
}

func TestListenRefusesAPathThatIsTooLong(t *testing.T) {
	_, err := Listen(filepath.Join(t.TempDir(), strings.Repeat("x", 100)))
	if err == nil || !strings.Contains(err.Error(), "choose a shorter --runtime-dir") {
		t.Errorf("%v", err)
	}
}
