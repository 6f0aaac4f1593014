package pluginhost

import (
	"context"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// DefaultStartTimeout bounds a start, from fork to the answer to Configure, and the
// wait for the first beat. A machine with more to do than it can is not helped by
// processes that are killed while they start, and started again.
const DefaultStartTimeout = 30 * time.Second

// Options of a Host.
type Options struct {
	// RuntimeDir is the daemon's; sockets are in plugins/NAME below it. Required.
	RuntimeDir string
	// Logger takes the host's own lines and, named after the process, those of plugins.
	// Nil: none are written.
	Logger hclog.Logger
	// OnEvent takes what an operator should know of a process: started, ended and why. It
	// must not block. Nil: nobody is told.
	OnEvent func(name, message string)
	// StartTimeout is DefaultStartTimeout if zero.
	StartTimeout time.Duration
}

// Spec says what to run and how.
type Spec struct {
	// Name of the process in status, logs and paths: lower-case letters, digits, '-', '_'.
	Name string
	// Path of the executable, absolute.
	Path string
	Args []string
	// Builtin: the executable is poise's own, beside poised, and may be anywhere. Others
	// must be where only root can write, if the daemon is privileged.
	Builtin bool
	// SHA256 of the executable in hex; empty: not pinned.
	SHA256 string
	// User to run as, a name or a number; empty: poise if there is one, else nobody.
	// Without the privilege to change it, the daemon's own user stays.
	User string
	// KeepsUser: the daemon's own user stays in any case.
	KeepsUser bool
	// Capabilities the process has, and no others: "NET_ADMIN".
	Capabilities []string
	// Env are variables that the process gets beside those that all get: "NAME=value". They
	// may be secrets, and are in no log.
	Env []string
	// Parameters of the plugin itself as JSON; empty: none.
	Parameters []byte
	// RuntimeDir is the plugin's own directory, made if it is missing and kept. Empty:
	// the directory its socket is in.
	RuntimeDir string
	// BeatInterval is how often beats are due; 0: every second.
	BeatInterval time.Duration
	// BeatTimeout without progress ends the process; 0: it is not looked at.
	BeatTimeout time.Duration
	// Survives: the process lives on when the daemon dies.
	Survives bool
	// Nice is the process's scheduling priority, -20 (first) to 19 (setpriority(2)); 0: the
	// daemon's own. Without CAP_SYS_NICE a process is not put before others.
	Nice int
	// PlainText: no TLS on the socket, for plugins that cannot do go-plugin's AutoMTLS.
	PlainText bool
}

// Session is a running process that has been configured.
type Session interface {
	// Conn is the connection to it.
	Conn() grpc.ClientConnInterface
	// Beat tells the progress that the process reported. Only one that grows counts.
	Beat(progress uint64)
	// Info is how the process described itself.
	Info() *pluginv1.DescribeResponse
}

// SessionFunc serves one running process. It returns soon after ctx is done; when it
// returns earlier, the process is ended and started again, and the error says why.
type SessionFunc func(ctx context.Context, s Session) error

// Host runs plugin processes.
type Host struct {
	options Options
	powers  powers
	// unprivileged is said once.
	unprivileged sync.Once

	mu        sync.Mutex
	processes map[*Process]struct{}
}

// New makes a host and removes what processes that are gone have left in the runtime
// directory.
func New(o Options) *Host {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.OnEvent == nil {
		o.OnEvent = func(string, string) {}
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = DefaultStartTimeout
	}
	if dir, err := filepath.Abs(o.RuntimeDir); err == nil {
		o.RuntimeDir = dir // a plugin's working directory is another one
	}
	h := &Host{options: o, powers: currentPowers(), processes: map[*Process]struct{}{}}
	sweepAll(h.pluginsDir())
	return h
}

func (h *Host) pluginsDir() string { return filepath.Join(h.options.RuntimeDir, "plugins") }

// Start runs a process until Stop or Close: it is started now, and again whenever it
// ends. session is called in a goroutine of its own for every start that succeeds, never
// twice at a time.
func (h *Host) Start(spec Spec, backoff Backoff, session SessionFunc) *Process {
	p := newProcess(h, spec, backoff, session)
	h.mu.Lock()
	h.processes[p] = struct{}{}
	h.mu.Unlock()
	go p.supervise()
	return p
}

func (h *Host) forget(p *Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.processes, p)
}

// Close ends every process that has not been stopped, without a word, and returns when
// they are gone.
func (h *Host) Close() {
	h.mu.Lock()
	left := make([]*Process, 0, len(h.processes))
	for p := range h.processes {
		left = append(left, p)
	}
	h.mu.Unlock()
	for _, p := range left {
		p.end()
	}
	for _, p := range left {
		<-p.done
	}
}

// validName keeps names harmless in paths.
var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
