package examples

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// server is a real server's program, which can be killed and started again.
type server struct {
	at   netip.AddrPort
	args []string
	cmd  *exec.Cmd
}

// free gives an address that nobody has.
func free(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func (s *server) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start %s: %s", s.args[0], err)
	}
	waitFor(t, s.args[0]+" listens", func() bool {
		c, err := net.Dial("tcp", s.at.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

// kill ends it without a word.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
	s.cmd = nil
}

func startServer(t *testing.T, at netip.AddrPort, args ...string) *server {
	t.Helper()
	s := &server{at: at, args: args}
	t.Cleanup(s.kill)
	s.start(t)
	return s
}

func startRedis(t *testing.T, password string) *server {
	t.Helper()
	at := free(t)
	return startServer(t, at, "redis-server", "--port", fmt.Sprint(at.Port()), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", t.TempDir(), "--requirepass", password)
}

// startMariaDB starts a server with the user poise.
func startMariaDB(t *testing.T, password string) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "poise-mariadb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, dir, "chown", "mysql", dir)
	data, at := filepath.Join(dir, "data"), free(t)
	must(t, dir, "mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	socket := filepath.Join(dir, "socket")
	s := startServer(t, at, "mariadbd", "--no-defaults", "--user=mysql", "--datadir="+data, fmt.Sprintf("--port=%d", at.Port()),
		"--bind-address=127.0.0.1", "--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"), "--log-error="+filepath.Join(dir, "log"),
		"--innodb-fast-shutdown=2", "--max-connect-errors=1000000")
	// Not our checker's to wait for: the server takes connections before it takes logins.
	waitFor(t, "MariaDB takes the user", func() bool {
		return exec.Command("mariadb", "--no-defaults", "-uroot", "-S", socket, "-e",
			fmt.Sprintf("CREATE USER IF NOT EXISTS poise@'127.0.0.1' IDENTIFIED BY '%s'", password)).Run() == nil
	})
	return s
}
