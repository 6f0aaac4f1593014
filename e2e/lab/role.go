package lab

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/poise-lb/poise/e2e/fault"
)

// RoleEnv makes an executable play a part in the lab: "server NAME ADDRESS",
// "client ADDRESS INTERVAL TIMEOUT", "hold ADDRESS INTERVAL", "fault FILE".
const RoleEnv = "POISE_E2E_ROLE"

// RunRole plays the part that this process was started for and does not return; it
// returns at once if there is none.
func RunRole() {
	words := strings.Fields(os.Getenv(RoleEnv))
	if len(words) == 0 {
		return
	}
	var err error
	switch {
	case words[0] == "server" && len(words) == 3:
		err = serve(words[1], words[2])
	case words[0] == "client" && len(words) == 4:
		err = runClient(words[1], words[2], words[3])
	case words[0] == "hold" && len(words) == 3:
		err = hold(words[1], words[2])
	case words[0] == "fault" && len(words) == 2:
		err = fault.Serve(words[1])
	default:
		err = fmt.Errorf("no such part: %q", words)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// role is the command that plays a part on a host.
func (h *Host) role(words ...string) *exec.Cmd {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatalf("find this executable: %v", err)
	}
	cmd := h.Command(self)
	cmd.Env = append(os.Environ(), RoleEnv+"="+strings.Join(words, " "), "GOMAXPROCS=1")
	return cmd
}

// hold asks again and again on one connection and ends when that breaks.
func hold(address, interval string) error {
	every, err := time.ParseDuration(interval)
	if err != nil {
		return err
	}
	conn, err := net.DialTimeout("tcp4", address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		// Longer than a client waits for a new connection: an open one is let retransmit.
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, "who\n"); err != nil {
			return err
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		fmt.Printf("%d %s", time.Now().UnixNano(), line)
		time.Sleep(every)
	}
}
