package conform

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/proto/handshake"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// naive is a checker that is written without the sdk, straight from the protos: that the
// target's first line begins with 220. It does all that the contract asks for, in the
// simplest way, but for the flaws that it is given.
type naive struct {
	goplugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedPluginServiceServer
	checkv1.UnimplementedCheckServiceServer
	server *grpc.Server

	mu         sync.Mutex
	configured int
	beat       time.Duration
	generation uint64
	checks     map[string]*naiveCheck
	probes     uint64
	progress   uint64
	dirty      map[string]bool
	queue      []*checkv1.Verdict
	cancel     context.CancelFunc
	opened     bool
	brokenAt   time.Time
	ballast    [][]byte
	leaked     []*os.File
	stopped    bool
}

type naiveCheck struct {
	c        *checkv1.Check
	ctx      context.Context
	end      context.CancelFunc
	verdict  checkv1.VerdictState
	told     *checkv1.Verdict
	failures uint32
	unknowns uint32
}

// envFlaw names the flaw of a process that is the naive plugin; "none" for none.
const envFlaw = "POISE_CONFORM_TEST_FLAW"

func flaw(name string) bool { return os.Getenv(envFlaw) == name }

// has says that the process has one of the flaws.
func has(names ...string) bool {
	for _, n := range names {
		if flaw(n) {
			return true
		}
	}
	return false
}

func serveNaive() {
	n := &naive{beat: time.Second, checks: map[string]*naiveCheck{}, dirty: map[string]bool{}}
	if !flaw("dies of SIGTERM") {
		ignored := make(chan os.Signal, 1)
		signal.Notify(ignored, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	}
	if flaw("listens elsewhere") {
		dir := filepath.Join(os.TempDir(), fmt.Sprintf("poise-elsewhere-%d", os.Getppid()))
		_ = os.MkdirAll(dir, 0o700)
		os.Setenv(goplugin.EnvUnixSocketDir, dir)
	}
	if !flaw("outlives the daemon") {
		go n.watchParent(os.Getppid())
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue},
		Plugins:         goplugin.PluginSet{handshake.PluginName: n},
		Logger:          hclog.NewNullLogger(),
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			if !flaw("takes 4 MiB") {
				o = append(o, grpc.MaxRecvMsgSize(handshake.MaxMessageSize))
			}
			return grpc.NewServer(o...)
		},
	})
	if flaw("does not end") {
		select {}
	}
	os.Exit(0)
}

func (n *naive) watchParent(born int) {
	for range time.Tick(100 * time.Millisecond) {
		n.mu.Lock()
		lost := n.opened && !n.brokenAt.IsZero() && time.Since(n.brokenAt) > 10*time.Second
		n.mu.Unlock()
		if os.Getppid() != born || lost {
			os.Exit(0)
		}
	}
}

func (n *naive) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServiceServer(s, n)
	checkv1.RegisterCheckServiceServer(s, n)
	return nil
}

func (n *naive) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("not here")
}

func (n *naive) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	k := &pluginv1.Kind{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: "naive"}
	if flaw("schema is no JSON") {
		k.ParametersSchemaJson = []byte("{")
	}
	if flaw("has no version") {
		return &pluginv1.DescribeResponse{Name: "naive", Kinds: []*pluginv1.Kind{k}}, nil
	}
	return &pluginv1.DescribeResponse{Name: "naive", Version: "1", Kinds: []*pluginv1.Kind{k}}, nil
}

// parse: there is one parameter, a prefix, which has to be there.
func parse(raw []byte) (prefix string, err error) {
	p := struct{ Prefix string }{}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if !flaw("takes unknown options") {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(&p); err != nil {
		return "", fmt.Errorf("the parameters are not as they should be: %w", err)
	}
	if p.Prefix == "" {
		return "", errors.New("prefix is missing")
	}
	return p.Prefix, nil
}

func (n *naive) Validate(_ context.Context, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	out := &pluginv1.ValidateResponse{}
	for i, item := range r.GetItems() {
		_, err := parse(item.GetParametersJson())
		if item.GetType() != "naive" {
			err = errors.New("no such type")
		}
		if err == nil {
			continue
		}
		if flaw("problems are errors") {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		if flaw("problems are about item 0") {
			i = 0
		}
		out.Problems = append(out.Problems, &pluginv1.Problem{Item: uint32(i), Message: err.Error(), Severity: pluginv1.Severity_SEVERITY_ERROR})
	}
	return out, nil
}

func (n *naive) Configure(_ context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.configured++; flaw("is configured once") && n.configured > 1 {
		return nil, status.Error(codes.FailedPrecondition, "it was configured before")
	}
	if p := string(r.GetParametersJson()); p != "" && p != "{}" && !flaw("takes any settings") {
		return nil, status.Error(codes.InvalidArgument, "it takes no parameters")
	}
	if !flaw("beats as it likes") || n.configured == 1 {
		n.beat = r.GetBeatInterval().AsDuration()
	}
	return &pluginv1.ConfigureResponse{}, nil
}

func (n *naive) Stop(_ context.Context, r *pluginv1.StopRequest) (*pluginv1.StopResponse, error) {
	if r.GetMode() == 0 && !flaw("stops without a mode") {
		return nil, status.Error(codes.InvalidArgument, "a stop needs a mode")
	}
	if flaw("goes on after Stop") {
		return &pluginv1.StopResponse{}, nil
	}
	n.mu.Lock()
	n.stopped = true
	for _, c := range n.checks {
		c.end()
	}
	n.mu.Unlock()
	time.Sleep(50 * time.Millisecond)
	return &pluginv1.StopResponse{}, nil
}

type found struct {
	state  checkv1.VerdictState
	reason string
	weight int64
}

// once probes once.
func (n *naive) once(ctx context.Context, t *checkv1.Target, prefix string, timeout time.Duration) found {
	if flaw("ignores its deadline") {
		timeout = timeout + 3*time.Second
	}
	if flaw("panics") {
		defer func() {
			if recover() != nil {
				os.Exit(2)
			}
		}()
	}
	d := net.Dialer{Timeout: timeout}
	deadline := time.Now().Add(timeout)
	if t.GetSourceAddress() != "" && !flaw("ignores the source") {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(t.GetSourceAddress())}
	}
	if flaw("leaks descriptors") {
		f, _ := os.Open(os.DevNull)
		n.mu.Lock()
		n.leaked = append(n.leaked, f)
		n.mu.Unlock()
	}
	if flaw("leaks processes") {
		_ = exec.Command("/bin/true").Start()
	}
	if flaw("leaks memory") {
		n.mu.Lock()
		n.ballast = append(n.ballast, []byte(strings.Repeat("x", 1<<18)))
		n.mu.Unlock()
	}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(t.GetAddress(), fmt.Sprint(t.GetPort())))
	if err != nil {
		var call *os.SyscallError
		if errors.As(err, &call) && call.Syscall == "bind" && !flaw("local errors are down") {
			return found{state: unknown, reason: err.Error()}
		}
		if flaw("gives no reason") {
			return found{state: down}
		}
		if flaw("dead is up") {
			return found{state: up}
		}
		return found{state: down, reason: err.Error()}
	}
	defer conn.Close()
	_ = conn.SetDeadline(deadline)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if flaw("panics") && err == nil && !strings.HasPrefix(line, prefix) {
		panic("an answer that nobody thought of")
	}
	if !strings.HasPrefix(line, prefix) {
		if flaw("any answer is good") && err == nil {
			return found{state: up}
		}
		return found{state: down, reason: strings.ToValidUTF8(fmt.Sprintf("it says %q: %v", line, err), "?")}
	}
	return found{state: up, weight: 7}
}

func (n *naive) Probe(ctx context.Context, r *checkv1.ProbeRequest) (*checkv1.ProbeResponse, error) {
	prefix, err := parse(r.GetParametersJson())
	if err == nil && r.GetType() != "naive" {
		err = errors.New("no such type")
	}
	if _, bad := netip.ParseAddr(r.GetTarget().GetAddress()); bad != nil {
		err = bad
	}
	if r.GetTimeout().AsDuration() <= 0 {
		err = errors.New("no timeout")
	}
	if err != nil {
		code := codes.InvalidArgument
		if flaw("wrong code") {
			code = codes.Internal
		}
		return nil, status.Error(code, err.Error())
	}
	begun := time.Now()
	f := n.once(ctx, r.GetTarget(), prefix, r.GetTimeout().AsDuration())
	if flaw("answers late") {
		time.Sleep(1500 * time.Millisecond)
		begun = time.Now()
	}
	return &checkv1.ProbeResponse{State: f.state, Reason: f.reason, Duration: durationpb.New(time.Since(begun)), Weight: f.weight, WeightMode: checkv1.WeightMode_WEIGHT_MODE_ADD}, nil
}
