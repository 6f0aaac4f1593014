package uml

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Again runs this program with these arguments in a machine, with its output as the
// program's own, and gives the exit status. bin is the directory of poise's programs.
// With interactive set and a terminal as the standard input, the machine has the
// terminal.
func Again(bin string, interactive bool, args ...string) (int, error) {
	if missing := Missing(); missing != "" {
		return 0, fmt.Errorf("a kernel of its own is needed, and this machine lacks %s", missing)
	}
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this executable: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return 0, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	m := &Machine{Command: append([]string{self}, args...), Dir: dir, Console: os.Stdout,
		Env: []string{"POISE_E2E_BIN=" + HostRoot + bin}}
	if interactive {
		if saved, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err == nil {
			m.Terminal = os.Stdin
			m.Env = append(m.Env, "TERM="+os.Getenv("TERM"))
			// The terminal is the machine's until it ends: it is set back from behind.
			signal.Ignore(syscall.SIGTTOU)
			defer func() { _ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, saved) }()
		}
	}
	return m.Run(ctx)
}
