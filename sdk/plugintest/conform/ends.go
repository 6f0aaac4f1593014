package conform

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

var endRequirements = []requirement{
	{name: "signals", says: "SIGTERM, SIGINT and SIGHUP do not end it while the daemon lives", check: signals},
	{name: "stop", says: "after Stop nothing is probed; the process ends by itself when it is told to", check: stop},
	{name: "host-gone", says: "it ends within seconds when the daemon is gone", check: hostGone},
	{name: "stream-lost", says: "a checker whose stream broke goes on for some seconds, and then ends", full: true, check: streamLost},
}

func (r *run) has(i pluginv1.Interface) bool {
	for _, k := range r.kinds {
		if k.GetInterface() == i {
			return true
		}
	}
	return false
}

func (r *run) alive() error {
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	_, err := r.process.plugin.Describe(ctx, &pluginv1.DescribeRequest{})
	return err
}

func signals(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		if err := syscall.Kill(r.process.pid, s); err != nil {
			return fmt.Errorf("send %s: %w", s, err)
		}
		r.pause(200 * time.Millisecond)
		if r.process.gone() {
			return fmt.Errorf("it ended on signal %d (%s) though the daemon lives", int(s), s)
		}
		if err := r.alive(); err != nil {
			return fmt.Errorf("after signal %d (%s): %w", int(s), s, err)
		}
	}
	return nil
}

func stop(r *run) error {
	if err := r.start(); err != nil {
		return err
	}
	l, err := r.busy()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, callTime)
	defer cancel()
	// Without groups and with nothing in the table of ours there is nothing to withdraw.
	if _, err := r.process.plugin.Stop(ctx, &pluginv1.StopRequest{Mode: pluginv1.StopMode_STOP_MODE_LEAVE}); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if l != nil {
		// What is in the listener's queue has been made before.
		r.pause(50 * time.Millisecond)
		before, _ := l.seen()
		r.pause(moment)
		if n, _ := l.seen(); n > before {
			return fmt.Errorf("%d connections were made after Stop had returned", n-before)
		}
	}
	if r.process.gone() {
		return fmt.Errorf("the process ended before it was told to")
	}
	if !r.process.shutdown() {
		return fmt.Errorf("the process does not end by itself when it is told to (plugin.GRPCController/Shutdown): it has to be killed after %s", endTime)
	}
	return nil
}

// busy has a checker probe as fast as it can a type that is known, if there is one.
func (r *run) busy() (*relay, error) {
	if !r.has(isCheck) {
		return nil, nil
	}
	s, err := r.open()
	if err != nil {
		return nil, err
	}
	for _, k := range r.kinds {
		t, known := r.o.Types[k.GetType()]
		if !known || t.Watched || !t.Target.IsValid() || t.Target.Port() == 0 || k.GetInterface() != isCheck {
			continue
		}
		r.kind, r.t, r.known = k, t, true
		l, err := r.relay(forward)
		if err != nil {
			return nil, err
		}
		if _, err := r.apply(s, 1, r.check("a", l.at, 50*time.Millisecond, time.Second)); err != nil {
			return nil, err
		}
		return l, r.settle(s, "a", up)
	}
	_, err = r.apply(s, 1)
	return nil, err
}

// hostGone kills a process that stands in for the daemon: the plugin's parent changes and
// its streams break.
func hostGone(r *run) error {
	if err := r.startWith(startOptions{hosted: true}); err != nil {
		return err
	}
	if _, err := r.busy(); err != nil {
		return err
	}
	if r.has(isFailover) {
		stream, err := r.process.failover.Run(r.ctx)
		if err != nil {
			return fmt.Errorf("open the stream of groups: %w", err)
		}
		if err := stream.Send(&failoverv1.RunRequest{Message: &failoverv1.RunRequest_SetGroups{SetGroups: &failoverv1.SetGroups{
			Generation: 1, CoreLossGrace: durationpb.New(time.Second),
		}}}); err != nil {
			return fmt.Errorf("send a set without groups: %w", err)
		}
		if _, err := stream.Recv(); err != nil {
			return fmt.Errorf("the stream of groups broke: %w", err)
		}
	}
	if err := syscall.Kill(r.process.host, syscall.SIGKILL); err != nil {
		return fmt.Errorf("end what stands in for the daemon: %w", err)
	}
	r.process.ended = true
	_ = r.process.conn.Close()
	const limit = 8 * time.Second
	if !r.within(limit, r.process.gone) {
		return fmt.Errorf("it still runs %s after the daemon was killed", limit)
	}
	return nil
}

func streamLost(r *run) error {
	if !r.has(isCheck) {
		return skip{"it is no checker"}
	}
	s, err := r.begin()
	if err != nil {
		return err
	}
	s.close()
	r.pause(5 * time.Second)
	if r.process.gone() {
		return fmt.Errorf("it ended within 5 s after its stream broke: the daemon may open another")
	}
	r.process.ended = true
	if !r.within(20*time.Second, r.process.gone) {
		return fmt.Errorf("it still runs 25 s after its stream broke")
	}
	return nil
}
