package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/proto/handshake"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

const (
	// answerTime is what poised has for an answer.
	answerTime = 10 * time.Second
	// reloadTime is what it has for a reload, in which plugins look at their settings.
	reloadTime = time.Minute
)

// client reaches the daemon of a runtime directory.
type client struct{ runtimeDir string }

func (c *client) socket() string { return filepath.Join(c.runtimeDir, "control.sock") }

// call runs one conversation with the daemon. Its error is fit for people.
func (c *client) call(ctx context.Context, limit time.Duration, do func(context.Context, controlv1.ControlServiceClient) error) error {
	var dialed atomic.Pointer[error]
	conn, err := grpc.NewClient("passthrough:///poised",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(handshake.MaxMessageSize)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket())
			if err != nil {
				dialed.Store(&err)
			}
			return conn, err
		}))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.socket(), err)
	}
	defer conn.Close()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err = do(ctx, controlv1.NewControlServiceClient(conn))
	if err == nil {
		return nil
	}
	if failed := dialed.Load(); failed != nil {
		return c.unreachable(*failed)
	}
	answer, ok := status.FromError(err)
	switch {
	case !ok:
		return err
	case answer.Code() == codes.DeadlineExceeded:
		return fmt.Errorf("poised took the call on %s and did not answer within %s: look at its log", c.socket(), limit)
	case answer.Code() == codes.Unimplemented:
		return fmt.Errorf("the poised that runs does not know this command: it is another version than this poise; see poise status")
	}
	return errors.New(answer.Message())
}

// unreachable says which socket was tried and what to do.
func (c *client) unreachable(err error) error {
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no permission to open %s: run poise as the user of poised (root)", c.socket())
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("no poised runs with the runtime directory %s (there is no %s): start it, or name its directory with --runtime-dir", c.runtimeDir, c.socket())
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no poised answers on %s, which one that died has left: start it, or name its directory with --runtime-dir", c.socket())
	}
	return fmt.Errorf("connect to poised: %w", err)
}
