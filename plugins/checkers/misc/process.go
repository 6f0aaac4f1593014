package misc

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxRunning bounds how many commands run at once in this process; each may take a
	// few megabytes of memory.
	maxRunning = 512
	// grace is the time between SIGTERM and SIGKILL.
	grace = 2 * time.Second
	// busyRetries is how often a start is tried again after ETXTBSY, which is seen for a
	// moment when a script has just been written: some other new process still holds the
	// descriptor it was written through.
	busyRetries = 8
)

var (
	running = make(chan struct{}, maxRunning)
	// starts is held while a process is started. The runtime has such a lock of its own,
	// which knows no deadline.
	starts = make(chan struct{}, 1)
)

// stage is how far a process has come.
type stage int

const (
	forSlot stage = iota
	looking
	forStart
	starting
	started
	reaped
)

// process is one run of a command.
type process struct {
	path string
	argv []string
	env  []string
	who  identity

	begun  time.Time
	output *os.File
	// ready is closed when it has started or cannot be; over when it has been reaped, or
	// will not start.
	ready, over chan struct{}
	// failure is why it was not started; status and usage are those of its end.
	failure error
	status  unix.WaitStatus
	usage   unix.Rusage
	ended   time.Time

	mu    sync.Mutex
	stage stage
	pid   int
	// doomed: its group is to end; expired: its time of grace is over, and closed then.
	doomed  bool
	expired chan struct{}
	expire  func()
	cancel  context.CancelFunc
}

// newProcess starts a command in the background.
func newProcess(path string, argv, env []string, who identity) *process {
	p := &process{
		path: path, argv: argv, env: env, who: who, begun: time.Now(),
		ready: make(chan struct{}), over: make(chan struct{}), expired: make(chan struct{}),
	}
	p.expire = sync.OnceFunc(func() { close(p.expired) })
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.live(ctx)
	return p
}

// live starts the process, waits for its end and reaps it. ctx is done when it is not
// wanted any more.
func (p *process) live(ctx context.Context) {
	defer p.end()
	pidfd, err := p.start(ctx)
	if err != nil {
		p.failure, p.ended = err, time.Now()
		close(p.ready)
		return
	}
	close(p.ready)
	await(pidfd, p.pid)
	p.ended = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.doomed {
		// As long as it has not been reaped its number is taken, and the group's with it.
		p.mu.Unlock()
		<-p.expired
		p.mu.Lock()
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	p.stage = reaped
	for {
		_, err := unix.Wait4(p.pid, &p.status, 0, &p.usage)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	<-running
}

// end tells that the run is over. Reading ends with it: what holds the pipe open from here
// on is not the command.
func (p *process) end() {
	p.cancel()
	close(p.over)
	if p.output != nil {
		_ = p.output.SetReadDeadline(past)
	}
}

// past is a deadline that ends reading at once.
var past = time.Unix(1, 0)

// start waits for its turn and starts the process. It gives a descriptor of it, nil
// where the kernel has none.
func (p *process) start(ctx context.Context) (*os.File, error) {
	select {
	case running <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.reach(looking)
	look(p.path)
	for try := 0; ; try++ {
		p.reach(forStart)
		select {
		case starts <- struct{}{}:
		case <-ctx.Done():
			<-running
			return nil, ctx.Err()
		}
		p.reach(starting)
		pidfd, err := p.fork()
		<-starts
		if errors.Is(err, unix.ETXTBSY) && try < busyRetries {
			select {
			case <-time.After(time.Millisecond << try):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil {
			<-running
			return nil, err
		}
		return pidfd, nil
	}
}

// look reads the beginning of a file, for one thing only: on a file system that does not
// answer, this hangs and nothing else. A hanging start would stop the whole process, for
// the runtime cannot stop the world meanwhile.
func look(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var first [1]byte
	_, _ = unix.Read(fd, first[:])
}

func (p *process) fork() (*os.File, error) {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(null)
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	defer unix.Close(pipe[1])
	if err := unix.SetNonblock(pipe[0], true); err != nil {
		unix.Close(pipe[0])
		return nil, err
	}
	pidfd := -1
	pid, err := syscall.ForkExec(p.path, p.argv, &syscall.ProcAttr{
		Dir: "/", Env: p.env, Files: []uintptr{uintptr(null), uintptr(pipe[1]), uintptr(pipe[1])},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: p.who.credential(), PidFD: &pidfd},
	})
	if err != nil {
		unix.Close(pipe[0])
		return nil, err
	}
	p.output = os.NewFile(uintptr(pipe[0]), "output")
	p.mu.Lock()
	p.pid, p.stage = pid, started
	if p.doomed {
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
	p.mu.Unlock()
	if pidfd < 0 || unix.SetNonblock(pidfd, true) != nil {
		return nil, nil
	}
	return os.NewFile(uintptr(pidfd), "process"), nil
}

func (p *process) reach(s stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stage = s
}

// await returns when a process has ended, and leaves it to be reaped. pidfd is closed;
// without one a thread waits.
func await(pidfd *os.File, pid int) {
	if pidfd != nil {
		defer pidfd.Close()
		raw, err := pidfd.SyscallConn()
		if err == nil {
			err = raw.Read(func(fd uintptr) bool {
				var info unix.Siginfo
				err := unix.Waitid(unix.P_PIDFD, int(fd), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
				return err == nil && info.Signo != 0 || errors.Is(err, unix.ECHILD)
			})
		}
		if err == nil {
			return
		}
	}
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// wait reads the output until the command has ended, and gives the first of it. ended is
// false if ctx was done before.
func (p *process) wait(ctx context.Context) (output []byte, ended bool) {
	select {
	case <-p.ready:
	case <-ctx.Done():
		go p.drain()
		return nil, false
	}
	if p.failure != nil {
		return nil, true
	}
	stop := context.AfterFunc(ctx, func() { _ = p.output.SetReadDeadline(past) })
	output = p.read()
	stop()
	select {
	case <-p.over:
		p.output.Close()
		return output, true
	case <-ctx.Done():
	}
	// Whoever has ended in time has, even if it is seen late.
	select {
	case <-p.over:
		p.output.Close()
		return output, true
	default:
		go p.drain()
		return output, false
	}
}

// drain reads on until the run is over, so that the time of grace is not cut short by a
// broken pipe.
func (p *process) drain() {
	<-p.ready
	if p.output == nil {
		return
	}
	defer p.output.Close()
	for {
		_ = p.output.SetReadDeadline(time.Time{})
		select {
		case <-p.over:
			return
		default:
		}
		if _, err := io.Copy(io.Discard, p.output); !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
}

// read reads until all writers are gone or the read deadline, and then what is there.
func (p *process) read() []byte {
	buffer := buffers.Get().(*[4096]byte)
	defer buffers.Put(buffer)
	var kept []byte
	keep := func(n int) {
		kept = append(kept, buffer[:min(n, keptOutput-len(kept))]...)
	}
	for {
		n, err := p.output.Read(buffer[:])
		keep(n)
		if err != nil {
			break
		}
	}
	if len(kept) == keptOutput {
		return kept
	}
	if raw, err := p.output.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			if n, err := unix.Read(int(fd), buffer[:]); err == nil {
				keep(n)
			}
		})
	}
	return kept
}

var buffers = sync.Pool{New: func() any { return new([4096]byte) }}

// terminate asks the group to end, and has it killed after the time of grace. It says how
// far the process had come.
func (p *process) terminate() stage {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := p.stage
	if p.doomed || was == reaped {
		return was
	}
	p.doomed = true
	p.cancel()
	if was == started {
		_ = unix.Kill(-p.pid, unix.SIGTERM)
		time.AfterFunc(grace, p.kill)
		return was
	}
	p.expire()
	return was
}

// kill kills the group at once, if the process has not ended.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage == reaped {
		return
	}
	p.doomed = true
	p.cancel()
	p.expire()
	if p.stage == started {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// id is the process's number, 0 before it has one.
func (p *process) id() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// took is how long a run that is over has taken.
func (p *process) took() time.Duration { return p.ended.Sub(p.begun) }

// cpu is what the run and what it waited for took.
func (p *process) cpu() time.Duration {
	return time.Duration(p.usage.Utime.Nano() + p.usage.Stime.Nano())
}
