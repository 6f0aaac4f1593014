package conform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/poise-lb/poise/proto/handshake"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	// startTime bounds a start, as the daemon does.
	startTime = 10 * time.Second
	// endTime is how long a process has to end by itself when it is told to.
	endTime = 2 * time.Second
	// window is the stream's flow control window: small, so that a reader who stops is
	// noticed soon, and fixed.
	window = 64 << 10
)

// process is a plugin that runs.
type process struct {
	client *goplugin.Client
	conn   *grpc.ClientConn

	plugin   pluginv1.PluginServiceClient
	check    checkv1.CheckServiceClient
	forward  forwardv1.ForwardServiceClient
	failover failoverv1.FailoverServiceClient

	// pid of the plugin, group its process group, host its parent if that is not us.
	pid, group, host int
	dir, runtimeDir  string
	log              *tail
	// ended: it was told to.
	ended bool
}

// startOptions are for requirements about the process itself.
type startOptions struct {
	// hosted: the plugin's parent is a process of its own.
	hosted bool
}

// startProcess starts the executable with the environment that the daemon gives it. With
// an error the process may be there all the same.
func startProcess(ctx context.Context, o Options, s startOptions) (*process, error) {
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Path, err)
	}
	dir, err := os.MkdirTemp("", "poise-conform-")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Path, err)
	}
	p := &process{dir: dir, runtimeDir: filepath.Join(dir, "run"), log: &tail{}}
	sockets := filepath.Join(dir, "sockets")
	if err := errors.Join(os.Mkdir(p.runtimeDir, 0o700), os.Mkdir(sockets, 0o700)); err != nil {
		return p, fmt.Errorf("start %s: %w", o.Path, err)
	}
	cmd := exec.Command(path, o.Args...)
	if s.hosted {
		cmd = exec.Command("/bin/sh", append([]string{"-c", `"$@" & wait`, "sh", path}, o.Args...)...)
	}
	cmd.Dir = "/"
	cmd.Env = append([]string{
		goplugin.EnvUnixSocketDir + "=" + sockets, handshake.EnvName + "=test",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
	}, o.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
		},
		Plugins: goplugin.PluginSet{handshake.PluginName: unused{}}, AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Cmd: cmd, AutoMTLS: !o.PlainText, SkipHostEnv: true, StartTimeout: startTime,
		Logger: hclog.NewNullLogger(), Stderr: p.log,
		GRPCDialOptions: []grpc.DialOption{
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(handshake.MaxMessageSize), grpc.MaxCallSendMsgSize(handshake.MaxMessageSize)),
			grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(16 * window),
		},
	})
	protocol, err := p.client.Client()
	if cmd.Process != nil {
		p.pid, p.group = cmd.Process.Pid, cmd.Process.Pid
	}
	if err != nil {
		return p, fmt.Errorf("start %s: %s%s", o.Path, firstLine(err.Error()), p.said())
	}
	if s.hosted {
		p.host = p.pid
		children := childrenOf(p.host)
		if len(children) != 1 {
			return p, fmt.Errorf("start %s: the shell that stands in for the daemon has %d children, want the plugin alone", o.Path, len(children))
		}
		p.pid = children[0]
	}
	address := p.client.ReattachConfig().Addr
	if err := checkSocket(sockets, address.Network(), address.String()); err != nil {
		return p, fmt.Errorf("start %s: %w", o.Path, err)
	}
	p.conn = protocol.(*goplugin.GRPCClient).Conn
	p.plugin, p.check = pluginv1.NewPluginServiceClient(p.conn), checkv1.NewCheckServiceClient(p.conn)
	p.forward, p.failover = forwardv1.NewForwardServiceClient(p.conn), failoverv1.NewFailoverServiceClient(p.conn)
	return p, ctx.Err()
}

// checkSocket: a plugin listens where it was told.
func checkSocket(dir, network, address string) error {
	if network != "unix" || filepath.Dir(address) != dir {
		return fmt.Errorf("it listens on %s %s, not on a unix socket in %s (%s)", network, address, goplugin.EnvUnixSocketDir, dir)
	}
	if info, err := os.Lstat(address); err != nil || info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("its address %s is not a socket", address)
	}
	return nil
}

// unused is the entry that go-plugin wants for its set of plugins.
type unused struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (unused) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the kit serves no plugin")
}

func (unused) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("the kit uses the connection itself")
}

// gone says whether the plugin's process has ended.
func (p *process) gone() bool {
	if p.pid == 0 {
		return true
	}
	state, ok := stateOf(p.pid)
	return !ok || state == "Z" || state == "X"
}

// shutdown asks the process to end, as go-plugin does, and says whether it has in time.
func (p *process) shutdown() bool {
	p.ended = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.client.Kill() // may hang on a plugin that does
	}()
	for end := time.Now().Add(endTime - 200*time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if p.gone() {
			return true
		}
	}
	return false
}

// end ends whatever is left.
func (p *process) end() {
	p.ended = true
	if p.client != nil && p.conn != nil && !p.gone() {
		p.shutdown()
	}
	if p.group != 0 {
		_ = syscall.Kill(-p.group, syscall.SIGKILL)
	}
	if p.conn != nil {
		_ = p.conn.Close()
	}
	if p.client != nil {
		go p.client.Kill()
	}
	_ = os.RemoveAll(p.dir)
}

// said is the last that the plugin wrote to its log, for messages.
func (p *process) said() string {
	if p.log == nil {
		return ""
	}
	if line := p.log.last(); line != "" {
		return "; its last words: " + line
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

// Write keeps.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - 4096; over > 0 {
		t.kept = t.kept[over:]
	}
	return len(b), nil
}

// last line that is not empty.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.kept)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
