package dial

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/sdk"
)

// TestFailedAccess: what a connection to a target of IPv6 gives for a packet filter of the
// target's that says "administratively prohibited" is the target's doing, as it is with
// IPv4, where it is "no route to host".
func TestFailedAccess(t *testing.T) {
	for _, c := range []struct {
		target string
		errno  unix.Errno
		want   sdk.Outcome
	}{
		{"[2001:db8::1]:80", unix.EACCES, sdk.Down},
		{"[2001:db8::1]:80", unix.EHOSTUNREACH, sdk.Down},
		{"[2001:db8::1]:80", unix.EPERM, sdk.Unknown},
		{"192.0.2.1:80", unix.EACCES, sdk.Unknown},
		{"192.0.2.1:80", unix.EHOSTUNREACH, sdk.Down},
	} {
		target := sdk.Target{Addr: netip.MustParseAddrPort(c.target), Trace: t.Logf}
		err := os.NewSyscallError("connect", c.errno)
		if r := Failed(context.Background(), target, time.Now(), "connect", err); r.Outcome != c.want {
			t.Errorf("%s, %v: %+v, want outcome %d", c.target, c.errno, r, c.want)
		}
		if r := Failed(context.Background(), target, time.Now(), "socket", Local(err)); r.Outcome != sdk.Unknown {
			t.Errorf("%s, %v of this machine: %+v", c.target, c.errno, r)
		}
	}
}
