package icontrol

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	loginPath  = shared("authn", "login")
	tokensPath = shared("authz", "tokens")
)

// maxRemembered bounds the tokens that are remembered after their use.
const maxRemembered = 16

// session holds the client's token. At most one login or renewal runs, on a goroutine of its
// own, because a caller that gives up must not lose a token that the device has handed out.
type session struct {
	client   *Client
	password func() string

	// life ends what runs when close does not wait any more.
	life   context.Context
	cancel context.CancelFunc
	// running counts goroutines.
	running sync.WaitGroup
	keeping keeping

	mu      sync.Mutex
	current token
	// stale are tokens that are not used any more and may live.
	stale []string
	// known are the latest tokens there were, for secrets.
	known  []string
	flight *flight
	closed bool
}

// flight is a login or renewal. Its fields are there when done is closed.
type flight struct {
	done  chan struct{}
	token string
	err   error
}

// refusedToken is one that the device did not accept.
type refusedToken struct {
	text   string
	reason *Error
}

// dead: the device itself does not know it any more.
func (r refusedToken) dead() bool {
	return r.reason != nil && (strings.Contains(r.reason.Message, "has expired") || strings.Contains(r.reason.Message, "does not exist"))
}

func newSession(c *Client, password func() string) *session {
	s := &session{client: c, password: password}
	s.life, s.cancel = context.WithCancel(context.Background())
	return s
}

// use gives a token that is not the refused one, which it gives up.
func (s *session) use(ctx context.Context, r *request, refused refusedToken) (string, error) {
	// A flight that was under way when the token was refused may end with that very token.
	for range 3 {
		text, waiting := s.ready(refused)
		if waiting == nil {
			if text == "" {
				return "", fmt.Errorf("%s %s: %w", r.method, r.named(), ErrClosed)
			}
			return text, nil
		}
		select {
		case <-waiting.done:
		case <-ctx.Done():
			return "", fmt.Errorf("%s %s: wait for the login: %w", r.method, r.named(), ctx.Err())
		}
		if waiting.err != nil {
			// Its fields are changed on the way out, and others have it too.
			var e *Error
			if !errors.As(waiting.err, &e) {
				return "", waiting.err
			}
			own := *e
			own.Unknown = false
			return "", &own
		}
		if waiting.token != "" && waiting.token != refused.text {
			return waiting.token, nil
		}
	}
	return "", refused.orLost(r)
}

func (r refusedToken) orLost(q *request) error {
	if r.reason != nil {
		return r.reason
	}
	return &Error{Method: q.method, Path: q.named(), Message: "tokens were refused as fast as they were given out", means: class{ErrTransient}}
}

// ready gives a token, or a flight to wait for, or neither when closed.
func (s *session) ready(refused refusedToken) (string, *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", nil
	}
	now := s.client.options.Clock.Now()
	if s.current.text != "" {
		if s.current.text == refused.text {
			s.client.options.Logger.Warn("the BIG-IP refused the token, logging in again", "address", s.client.options.Address, "reason", refused.reason.Message)
			s.retire(refused.dead())
		} else if !now.Before(s.current.end) {
			s.retire(false)
		}
	}
	if s.current.text == "" {
		if s.flight == nil {
			s.start(token{})
		}
		return "", s.flight
	}
	if !now.Before(s.current.renew) && s.flight == nil {
		s.start(s.current)
	}
	return s.current.text, nil
}

// retire stops using the current token. The caller holds the lock.
func (s *session) retire(dead bool) {
	if !dead {
		s.stale = lastOf(append(s.stale, s.current.text))
	}
	s.current = token{}
}

// start begins a login, or the renewal of a token. The caller holds the lock.
func (s *session) start(old token) {
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.running.Go(func() {
		s.inherit()
		fresh, err := s.obtain(old)
		s.mu.Lock()
		s.flight = nil
		switch {
		case err != nil:
			f.err = err
			if old.text != "" && s.current.text == old.text {
				s.current = s.client.postpone(old)
			}
		case old.text == fresh.text && s.current.text != old.text:
			// It was renewed, and refused meanwhile.
		default:
			if s.current.text != "" && s.current.text != fresh.text {
				s.retire(false)
			}
			s.current, f.token = fresh, fresh.text
		}
		s.mu.Unlock()
		// Before it is used: whoever is killed now leaves it.
		if err == nil && fresh.text != old.text {
			s.keep()
		}
		close(f.done)
		if err == nil {
			s.discard(s.life, fresh.text)
		}
	})
}

// obtain gives the old token with more time, or a new one.
func (s *session) obtain(old token) (token, error) {
	if old.text != "" {
		fresh, err := s.renew(old)
		if err == nil {
			return fresh, nil
		}
		s.client.options.Logger.Debug("the BIG-IP did not renew the token", "address", s.client.options.Address, "error", err.Error())
		if errors.Is(err, ErrTransient) && !isUnauthorized(err) {
			// There is time left to try again.
			return s.client.postpone(old), nil
		}
	}
	return s.login()
}

// postpone leaves a token that was not renewed alone for a part of its remaining life.
func (c *Client) postpone(t token) token {
	now := c.options.Clock.Now()
	t.renew = now.Add(max(t.end.Sub(now)/4, time.Second))
	return t
}

func isUnauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.HTTP == http.StatusUnauthorized && !e.wrapsUnavailable()
}

// login gains a token.
func (s *session) login() (token, error) {
	c := s.client
	var answer struct {
		Token tokenState `json:"token"`
	}
	r := &request{method: http.MethodPost, path: loginPath, login: true, out: &answer}
	err := r.encode(map[string]string{"username": c.options.Username, "password": s.password(), "loginProviderName": c.options.LoginProvider})
	if err != nil {
		return token{}, err
	}
	sent := c.options.Clock.Now()
	if e := c.once(s.life, r, ""); e != nil {
		return token{}, e
	}
	fresh, err := answer.Token.begin(sent)
	if err != nil {
		return token{}, &Error{Method: r.method, Path: r.path, HTTP: http.StatusOK, Message: err.Error(), means: permanent}
	}
	c.counters.count(&c.counters.stats.Logins)
	s.mu.Lock()
	s.known = lastOf(append(s.known, fresh.text))
	s.mu.Unlock()
	return fresh, nil
}

// renew gives a token more time.
func (s *session) renew(old token) (token, error) {
	c := s.client
	sent := c.options.Clock.Now()
	timeout, ok := old.extension(sent)
	if !ok {
		return token{}, errors.New("it is as old as a token may become")
	}
	var answer tokenState
	r := &request{method: http.MethodPatch, path: tokensPath.Sub(old.text), shown: tokensPath, out: &answer}
	if err := r.encode(map[string]int64{"timeout": timeout}); err != nil {
		return token{}, err
	}
	if e := c.once(s.life, r, old.text); e != nil {
		return token{}, e
	}
	fresh, err := old.extended(answer, sent)
	if err != nil {
		return token{}, err
	}
	c.counters.count(&c.counters.stats.Renewals)
	return fresh, nil
}

// discard deletes tokens that are not used any more. What is not deleted for a passing
// reason stays on the list.
func (s *session) discard(ctx context.Context, with string) {
	s.mu.Lock()
	tokens := slices.Clone(s.stale)
	s.mu.Unlock()
	if len(tokens) == 0 {
		return
	}
	for _, t := range tokens {
		if err := s.delete(ctx, t, with); err != nil && errors.Is(err, ErrTransient) {
			continue
		}
		s.mu.Lock()
		s.stale = slices.DeleteFunc(s.stale, func(have string) bool { return have == t })
		s.mu.Unlock()
	}
	s.keep()
}

func (s *session) delete(ctx context.Context, text, with string) error {
	return orNil(s.client.once(ctx, &request{method: http.MethodDelete, path: tokensPath.Sub(text), shown: tokensPath}, with))
}

// close deletes all tokens, after what runs has ended.
func (s *session) close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() { s.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		s.cancel()
		<-ended
	}
	defer s.cancel()

	s.mu.Lock()
	current := s.current.text
	s.mu.Unlock()
	if current != "" {
		s.discard(ctx, current)
	}
	s.mu.Lock()
	left := s.stale
	s.current, s.stale = token{}, nil
	s.mu.Unlock()
	if current != "" {
		left = append(left, current)
	}
	var failed error
	var alive []string
	for _, t := range left {
		// A token may delete itself. What the device does not know or accept is gone.
		err := s.delete(ctx, t, t)
		if err != nil && (errors.Is(err, ErrTransient) && !isUnauthorized(err) || ctx.Err() != nil) {
			failed = fmt.Errorf("BIG-IP %s: a token is left until it ends by itself: %w", s.client.options.Address, err)
			alive = append(alive, t)
		}
	}
	if current != "" || len(left) > 0 {
		s.mu.Lock()
		s.stale = alive
		s.mu.Unlock()
		s.keep()
	}
	return failed
}

// secrets are the tokens that texts must not contain.
func (s *session) secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.known)
}

func lastOf(tokens []string) []string { return tokens[max(0, len(tokens)-maxRemembered):] }
