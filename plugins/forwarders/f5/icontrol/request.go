package icontrol

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	tokenHeader       = "X-F5-Auth-Token"
	transactionHeader = "X-F5-REST-Coordination-Id"

	// apiErrorBusy: another asynchronous task runs; the request was turned away.
	apiErrorBusy = 32964609
)

// request is one call, however often it is sent.
type request struct {
	method string
	path   Path
	// shown is the path in errors, where that differs.
	shown       Path
	query       url.Values
	body        []byte
	out         any
	transaction string
	// timeout of one attempt; Options.RequestTimeout if 0.
	timeout time.Duration
	// repeatable: carrying it out twice is the same as once.
	repeatable bool
	// login: without a token.
	login bool
	// token, if not empty, is used and no other.
	token string
}

func (r *request) encode(body any) error {
	if body == nil {
		return nil
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%s %s: write the body: %w", r.method, r.path, err)
	}
	r.body = encoded
	return nil
}

func (r *request) named() Path {
	if r.shown != (Path{}) {
		return r.shown
	}
	return r.path
}

// writes: the device may be another afterwards.
func (r *request) writes() bool { return r.method != http.MethodGet }

// do sends a request until it is answered for good, but not too often.
func (c *Client) do(ctx context.Context, r *request) error {
	var loggedIn, unknown bool
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, r, &loggedIn)
		var e *Error
		if !errors.As(err, &e) {
			return err
		}
		if unknown && r.method == http.MethodDelete && errors.Is(e, ErrNotFound) {
			return nil
		}
		// What an earlier attempt has done stays done.
		unknown = unknown || e.Unknown
		e.Unknown = unknown
		if !errors.Is(e, ErrTransient) || unknown && !r.repeatable || attempt >= c.options.Retry.Attempts {
			return err
		}
		wait := c.options.Retry.wait(attempt)
		c.options.Logger.Debug("request to the BIG-IP failed, trying again", "address", c.options.Address, "error", e.Error(), "attempt", attempt, "wait", wait)
		if stopped := c.options.Clock.Sleep(ctx, wait); stopped != nil {
			return fmt.Errorf("%w (and no time to try again: %w)", err, stopped)
		}
		c.counters.count(&c.counters.stats.Retries)
	}
}

// attempt sends a request once, and once more after a new login if the token was refused.
func (c *Client) attempt(ctx context.Context, r *request, loggedIn *bool) error {
	if r.login || r.token != "" {
		return orNil(c.once(ctx, r, r.token))
	}
	token, err := c.session.use(ctx, r, refusedToken{})
	if err != nil {
		return err
	}
	e := c.once(ctx, r, token)
	if e == nil || e.HTTP != http.StatusUnauthorized || e.wrapsUnavailable() || *loggedIn {
		return orNil(e)
	}
	*loggedIn = true
	if token, err = c.session.use(ctx, r, refusedToken{text: token, reason: e}); err != nil {
		return err
	}
	return orNil(c.once(ctx, r, token))
}

// orNil keeps a nil *Error from becoming an error.
func orNil(e *Error) error {
	if e == nil {
		return nil
	}
	return e
}

// once sends a request one time and reads the answer.
func (c *Client) once(ctx context.Context, r *request, token string) *Error {
	timeout := r.timeout
	if timeout == 0 {
		timeout = c.options.RequestTimeout
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// From here on bytes may have left.
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(bounded, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	sent, err := c.httpRequest(traced, r, token)
	if err != nil {
		return &Error{Method: r.method, Path: r.named(), Message: c.clean(err.Error()), means: permanent}
	}

	start := c.options.Clock.Now()
	response, err := c.http.Do(sent)
	if err != nil {
		c.counters.request(Outcome{Method: r.method}, c.options.Clock.Now().Sub(start))
		return c.noAnswer(ctx, bounded, r, timeout, connected.Load(), err)
	}
	defer response.Body.Close()
	ok := response.StatusCode >= 200 && response.StatusCode < 300
	limit := c.options.MaxBody
	if !ok {
		limit = min(limit, maxErrorBody)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	c.counters.request(Outcome{Method: r.method, HTTP: response.StatusCode}, c.options.Clock.Now().Sub(start))
	switch {
	case !ok:
		// Half a reason is better than none: an error while reading is not one of its own.
		e := refusal(r.method, r.named(), response.StatusCode, response.Header.Get("Content-Type"), body[:min(int64(len(body)), limit)])
		e.Message = c.clean(e.Message)
		e.Unknown = r.writes() && mayBeDone(e)
		return e
	case err != nil:
		return c.noAnswer(ctx, bounded, r, timeout, true, fmt.Errorf("read the answer: %w", err))
	case int64(len(body)) > limit:
		return &Error{
			Method: r.method, Path: r.named(), HTTP: response.StatusCode, Unknown: r.writes(), means: permanent, cause: ErrTooLarge,
			Message: fmt.Sprintf("the answer is larger than %d bytes: ask for less at a time", limit),
		}
	}
	return c.decode(r, response, body)
}

func (c *Client) httpRequest(ctx context.Context, r *request, token string) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	target := "https://" + c.options.Address + r.path.String()
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	sent, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	sent.Header.Set("User-Agent", "poise")
	sent.Header.Set("Accept", "application/json")
	if body != nil {
		sent.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		sent.Header.Set(tokenHeader, token)
	}
	if r.transaction != "" {
		sent.Header.Set(transactionHeader, r.transaction)
	}
	return sent, nil
}

// mayBeDone: what a device refuses with a 4xx or turns away it has not done; of an error of
// its own nobody knows how far it came.
func mayBeDone(e *Error) bool {
	if e.HTTP < 500 {
		return e.HTTP == http.StatusBadRequest && errors.Is(e, ErrTransient)
	}
	return e.APIError != apiErrorBusy
}

// decode reads the answer of a success.
func (c *Client) decode(r *request, response *http.Response, body []byte) *Error {
	if r.out == nil {
		return nil
	}
	err := json.Unmarshal(body, r.out)
	if err == nil {
		return nil
	}
	e := refusal(r.method, r.named(), response.StatusCode, response.Header.Get("Content-Type"), body)
	e.means = class{ErrTransient}
	e.Unknown = r.writes()
	// Other errors repeat what they do not like, quoted in ways that hide a secret from being
	// found.
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case e.HTML:
		e.Message = "the answer is a page instead of JSON: " + e.Message
	case errors.As(err, &syntax):
		e.Message = "the answer is not JSON: " + err.Error()
	case errors.As(err, &wrong):
		// It will have the same form next time.
		e.means = permanent
		e.Message = fmt.Sprintf("the answer has an unexpected form: %q is not %s", wrong.Field, wrong.Type)
	default:
		e.means = permanent
		e.Message = "the answer has an unexpected form"
	}
	e.Code = ""
	e.Message = c.clean(e.Message)
	return e
}

// noAnswer is about a request that was not answered, or not to the end.
func (c *Client) noAnswer(ctx, bounded context.Context, r *request, timeout time.Duration, connected bool, err error) *Error {
	// An error of net/http repeats method and address.
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	// One of a connection has its own port, another one each time: the same would be told as
	// news again and again.
	var op *net.OpError
	if errors.As(err, &op) && op.Source != nil {
		err = fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	e := &Error{Method: r.method, Path: r.named(), Unknown: connected && r.writes(), means: class{ErrTransient}, Message: err.Error(), cause: err}
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		e.means, e.cause = permanent, ctx.Err()
		e.Message = "given up: " + ctx.Err().Error()
	case bounded.Err() != nil:
		e.Message = fmt.Sprintf("no answer within %s", timeout)
		e.cause = context.DeadlineExceeded
	case errors.As(err, &certificate):
		e.means, e.Unknown = permanent, false
		e.Message = "the device's certificate is not trusted: " + certificate.Err.Error()
	}
	clean := c.clean(e.Message)
	if clean != shorten(e.Message) {
		// What is below says the secret.
		e.cause = nil
	}
	e.Message = clean
	return e
}

// clean takes secrets out of a text that may go into a log.
func (c *Client) clean(text string) string {
	return shorten(hide(c.hide(text), c.session.secrets()...))
}
