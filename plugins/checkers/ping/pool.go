package ping

import (
	"sync"

	"github.com/poise-lb/poise/sdk"
)

// key is what the probes of one socket have in common.
type key struct {
	six    bool
	device string
	mark   uint32
}

func keyOf(t sdk.Target) key {
	return key{t.Addr.Addr().Is6(), t.Interface, t.FWMark}
}

// pool holds the sockets that probers use.
type pool struct {
	mu      sync.Mutex
	sockets map[key]*socket
}

// take gives a socket, which release has to be called for.
func (p *pool) take(k key) (*socket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sockets[k]
	if s == nil || s.isBroken() {
		fresh, err := open(k)
		if err != nil {
			return nil, err
		}
		if p.sockets == nil {
			p.sockets = map[key]*socket{}
		}
		p.sockets[k], s = fresh, fresh
	}
	s.users++
	return s, nil
}

// release gives a socket back; the last user's closes it.
func (p *pool) release(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users--; s.users > 0 {
		return
	}
	if p.sockets[s.key] == s {
		delete(p.sockets, s.key)
	}
	s.close()
}
