package lab

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// Program runs f with a lab outside a test and says whether it went well. What the lab
// made is unmade.
func Program(name string, f func(TB)) bool {
	p := &program{name: name}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer p.cleanup()
		f(p)
	}()
	<-done
	return !p.Failed()
}

// program is a TB that says what is wrong on standard error.
type program struct {
	name     string
	mu       sync.Mutex
	failed   bool
	cleanups []func()
}

func (p *program) Helper()      {}
func (p *program) Name() string { return p.name }

func (p *program) Logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, p.name+": "+format+"\n", args...)
}

func (p *program) Errorf(format string, args ...any) {
	p.Logf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = true
}

// Fatalf ends the goroutine, after its deferred calls.
func (p *program) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	runtime.Goexit()
}

func (p *program) Cleanup(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanups = append(p.cleanups, f)
}

func (p *program) Failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *program) cleanup() {
	for {
		p.mu.Lock()
		n := len(p.cleanups)
		if n == 0 {
			p.mu.Unlock()
			return
		}
		f := p.cleanups[n-1]
		p.cleanups = p.cleanups[:n-1]
		p.mu.Unlock()
		f()
	}
}
