package daemon

import (
	"net"
	"os"
)

// notifySystemd tells systemd a state (sd_notify(3)): "READY=1". Without systemd it
// does nothing; a failure is not worth more than the daemon's own work.
func notifySystemd(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
