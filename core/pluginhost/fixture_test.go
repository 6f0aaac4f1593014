package pluginhost

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/poise-lb/poise/core/pluginhost/hosttest"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// The test binary is its own plugin: started by a host it serves as fixture, with its
// arguments as faults to have. Started with daemonEnv it is a daemon to be killed.
const daemonEnv = "POISE_TEST_DAEMON"

func TestMain(m *testing.M) {
	switch {
	case hosttest.Started():
		serveFixture(os.Args[1:])
	case os.Getenv(daemonEnv) != "":
		runTestDaemon(os.Getenv(daemonEnv))
	default:
		goleak.VerifyTestMain(m)
	}
}

// fixture is a plugin with faults.
type fixture struct {
	pluginv1.UnimplementedPluginServiceServer
	checkv1.UnimplementedCheckServiceServer
	faults     map[string]bool
	runtimeDir string
	beat       chan time.Duration
}

func serveFixture(args []string) {
	f := &fixture{faults: map[string]bool{}, beat: make(chan time.Duration, 16)}
	for _, a := range args {
		f.faults[a] = true
	}
	logger := hclog.New(&hclog.LoggerOptions{Name: "fixture", Level: hclog.Debug, Output: os.Stderr, JSONFormat: true})
	switch {
	case f.faults["exits"]:
		os.Exit(3)
	case f.faults["never-serves"]:
		select {}
	case f.faults["no-handshake"]:
		fmt.Println("hello, I am no plugin")
		select {}
	}
	if f.faults["panics"] {
		go func() { time.Sleep(300 * time.Millisecond); panic("as told") }()
	}
	if f.faults["logs"] {
		logger.Warn("a warning", "real_server", "192.0.2.1:80", "weight", 1000000)
		logger.Debug("a detail")
		fmt.Fprintln(os.Stderr, `{"@message":5,"@level":[]}`)
		fmt.Fprintln(os.Stderr, "[ERROR] plain text")
	}
	hosttest.Serve(func(s *grpc.Server) {
		pluginv1.RegisterPluginServiceServer(s, f)
		checkv1.RegisterCheckServiceServer(s, f)
	}, false)
	if f.runtimeDir != "" {
		f.note("ended", "by itself")
	}
	os.Exit(0)
}

func (f *fixture) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	if f.faults["nameless"] {
		return &pluginv1.DescribeResponse{}, nil
	}
	if f.faults["slow-describe"] {
		time.Sleep(time.Hour)
	}
	return &pluginv1.DescribeResponse{Name: "fixture", Version: "1.2.3", Kinds: []*pluginv1.Kind{
		{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: "tcp"}, {Interface: pluginv1.Interface_INTERFACE_FORWARD, Type: "null"},
	}}, nil
}

// Validate answers with what the type of an item asks for: a file of /proc, or the like.
func (f *fixture) Validate(_ context.Context, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	out := &pluginv1.ValidateResponse{}
	for i, item := range r.GetItems() {
		var text string
		switch item.GetType() {
		case "env":
			text = strings.Join(os.Environ(), "\x01")
		case "fds":
			entries, _ := os.ReadDir("/proc/self/fd")
			for _, e := range entries {
				target, _ := os.Readlink("/proc/self/fd/" + e.Name())
				text += e.Name() + " " + target + "\n"
			}
		default:
			b, _ := os.ReadFile("/proc/self/" + item.GetType())
			text = string(b)
		}
		out.Problems = append(out.Problems, &pluginv1.Problem{Item: uint32(i), Message: strings.ToValidUTF8(text, "?")})
	}
	if f.faults["wrong-item"] {
		out.Problems = append(out.Problems, &pluginv1.Problem{Item: 1 << 31, Message: "nowhere"})
	}
	return out, nil
}

func (f *fixture) Configure(_ context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	if f.faults["refuses"] {
		return nil, fmt.Errorf("modprobe ip_vs first")
	}
	f.runtimeDir = r.GetRuntimeDir()
	f.note("configured", fmt.Sprintf("%s %s %s", r.GetName(), r.GetParametersJson(), r.GetBeatInterval().AsDuration()))
	if f.faults["children"] {
		for range 3 {
			c := exec.Command("sleep", "1000")
			c.Stdout, c.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
			_ = c.Start()
		}
	}
	if f.faults["escapes"] {
		c := exec.Command("sleep", "1000")
		c.Stdout, c.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = c.Start()
		f.note("escaped", fmt.Sprint(c.Process.Pid))
	}
	if f.faults["prints"] {
		fmt.Println("stray words")
	}
	f.beat <- r.GetBeatInterval().AsDuration()
	return &pluginv1.ConfigureResponse{}, nil
}

// note leaves word in the runtime directory.
func (f *fixture) note(name, text string) {
	_ = os.WriteFile(filepath.Join(f.runtimeDir, name), []byte(text), 0o600)
}

func (f *fixture) Stop(ctx context.Context, r *pluginv1.StopRequest) (*pluginv1.StopResponse, error) {
	f.note("stop", r.GetMode().String())
	if f.faults["never-stops"] {
		<-make(chan struct{})
	}
	return &pluginv1.StopResponse{}, nil
}

func (f *fixture) Run(stream checkv1.CheckService_RunServer) error {
	every := <-f.beat
	progress := uint64(0)
	timer := time.NewTicker(every)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case every := <-f.beat:
			timer.Reset(every)
		case <-stream.Context().Done():
			return nil
		}
		progress++
		if f.faults["mute"] && progress > 3 {
			continue
		}
		told := progress
		if f.faults["stuck"] {
			told = min(progress, 3)
		}
		if f.faults["breaks"] && progress > 3 {
			return fmt.Errorf("the stream breaks")
		}
		beat := &checkv1.Beat{Beat: &pluginv1.Beat{Progress: told}}
		if err := stream.Send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Beat{Beat: beat}}); err != nil {
			return err
		}
	}
}

// beats is a session that passes beats on until the stream breaks.
func beats(ctx context.Context, s Session) error {
	stream, err := checkv1.NewCheckServiceClient(s.Conn()).Run(ctx)
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		s.Beat(r.GetBeat().GetBeat().GetProgress())
	}
}
