package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/plugintest"
)

// The test's executable is also the plugin, and the daemon that is killed.
const (
	envPlugin = "POISE_SDK_TEST_PLUGIN"
	envDaemon = "POISE_SDK_TEST_DAEMON"
	envDir    = "POISE_SDK_TEST_DIR"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(envPlugin); kind != "" {
		p := sdk.Plugin{Name: kind, Version: "1", Checkers: map[string]sdk.Checker{"echo": echo{probes: new(atomic.Int64)}, "files": files{}}}
		if kind == "failover" {
			p.Failover, p.FailoverType = newProvider(), "test"
		}
		sdk.Serve(p)
	}
	os.Exit(m.Run())
}

// files is a checker that lists what the process has open.
type files struct{}

func (files) Parse(json.RawMessage) (sdk.Prober, error) { return files{}, nil }

func (files) Probe(_ context.Context, t sdk.Target) sdk.Result {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return sdk.Result{Reason: err.Error()}
	}
	for _, f := range list {
		if link, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil {
			t.Trace("%s", link)
		}
	}
	return sdk.Result{Outcome: sdk.Up}
}

// executable gives the command that is the plugin.
func executable(t *testing.T, kind string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = []string{envPlugin + "=" + kind}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// TestSignals: what hits the whole service or terminal does not end a plugin whose
// daemon runs.
func TestSignals(t *testing.T) {
	c := plugintest.Start(t, executable(t, "checkers"))
	c.Configure(t, "")
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
		if err := syscall.Kill(c.Pid, s); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Plugin.Describe(within(t), &pluginv1.DescribeRequest{}); err != nil {
			t.Errorf("after %s: %s", s, err)
		}
	}
}

// TestExecutableDescriptor: a descriptor of the executable that was left open for the
// start is closed.
func TestExecutableDescriptor(t *testing.T) {
	cmd := executable(t, "checkers")
	file, err := os.Open(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	self := cmd.Path
	cmd.ExtraFiles = []*os.File{file}
	cmd.Path = "/proc/self/fd/3"
	c := plugintest.Start(t, cmd)
	probe, err := c.Check.Probe(within(t), &checkv1.ProbeRequest{Type: "files", Target: &checkv1.Target{Address: "::1"}, Timeout: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	open := strings.Join(probe.GetTranscript(), "\n")
	if strings.Contains(open, self) || !strings.Contains(open, "socket:") {
		t.Errorf("open are\n%s", open)
	}
}

// TestDaemonKilled: a plugin without a daemon does not stay. A failover provider
// finishes first, whether or not somebody reads its log.
func TestDaemonKilled(t *testing.T) {
	for _, kind := range []string{"checkers", "failover"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			daemon := executable(t, "")
			daemon.Args = append(daemon.Args, "-test.run=^TestAsDaemon$")
			daemon.Env = []string{envDaemon + "=" + kind, envDir + "=" + dir}
			if err := daemon.Start(); err != nil {
				t.Fatal(err)
			}
			waited := make(chan error, 1)
			go func() { waited <- daemon.Wait() }()
			var pid int
			waitFor(t, "the plugin of the daemon runs", func() bool {
				raw, err := os.ReadFile(filepath.Join(dir, "pid"))
				if err == nil {
					pid, err = strconv.Atoi(string(raw))
				}
				return err == nil
			})
			if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := daemon.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-waited
			waitFor(t, "the plugin ends", func() bool { return !alive(pid) })
			_, err := os.Stat(filepath.Join(dir, "withdrawn"))
			if finished := err == nil; finished != (kind == "failover") {
				t.Errorf("the provider has finished: %t", finished)
			}
		})
	}
}

// TestAsDaemon is not a test but the daemon of TestDaemonKilled.
func TestAsDaemon(t *testing.T) {
	kind := os.Getenv(envDaemon)
	if kind == "" {
		t.Skip("this is the daemon of another test")
	}
	dir := os.Getenv(envDir)
	c := plugintest.Start(t, executable(t, kind))
	if _, err := c.Plugin.Configure(within(t), &pluginv1.ConfigureRequest{Name: "test", RuntimeDir: dir, BeatInterval: durationpb.New(time.Second)}); err != nil {
		t.Fatal(err)
	}
	checks, err := c.Check.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checks.Recv(); err != nil {
		t.Fatal(err)
	}
	if kind == "failover" {
		groups, err := c.Failover.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		setGroups(t, groups, 1)
		if _, err := groups.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	partial := filepath.Join(dir, "partial")
	if err := os.WriteFile(partial, []byte(strconv.Itoa(c.Pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(partial, filepath.Join(dir, "pid")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(patience)
}
