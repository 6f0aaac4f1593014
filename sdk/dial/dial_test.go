package dial

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/poise-lb/poise/sdk"
)

// TestSourcePort: one probe after the other can have the same source port.
func TestSourcePort(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Logf("not here: %v", err)
			continue
		}
		defer l.Close()
		go func() {
			for {
				if _, err := l.Accept(); err != nil {
					return
				}
			}
		}()
		free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		source := netip.MustParseAddrPort(free.Addr().String())
		free.Close()
		target := sdk.Target{Addr: netip.MustParseAddrPort(l.Addr().String()), Source: source, Trace: t.Logf}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for i := range 3 {
			conn, err := TCP(ctx, target)
			if err != nil {
				t.Fatalf("connection %d from %s: %v", i, source, err)
			}
			if got := conn.LocalAddr().String(); got != source.String() {
				t.Errorf("from %s, want %s", got, source)
			}
			conn.Close()
		}
	}
}
