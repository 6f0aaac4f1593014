package icontrol

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// maxConnections is what a device's management plane bears for long.
	maxConnections = 2
	// idleTimeout is short: a request on a connection that the device is about to close may
	// be lost, and then it is not known whether it arrived.
	idleTimeout = 10 * time.Second
)

// Client speaks to one device. It is for concurrent use.
type Client struct {
	options  Options
	http     *http.Client
	session  *session
	counters *counters
	// hide takes the password out of a text. A function, because fmt prints the fields of a
	// struct, but of a function its address.
	hide func(string) string
}

// New makes a client. Nothing is sent before the first request.
func New(options Options) (*Client, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		// Management addresses are reached directly; the environment of a daemon has no say.
		Proxy:               nil,
		DialContext:         (&net.Dialer{Timeout: o.RequestTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: o.RootCAs, ServerName: o.ServerName, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: o.RequestTimeout,
		MaxConnsPerHost:     maxConnections,
		MaxIdleConnsPerHost: maxConnections,
		IdleConnTimeout:     idleTimeout,
	}
	c := &Client{
		counters: newCounters(),
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	password := string(o.Password)
	forms := []string{password, jsonText(password, true), jsonText(password, false), url.QueryEscape(password)}
	c.hide = func(text string) string { return hide(text, forms...) }
	c.session = newSession(c, func() string { return password })
	o.Password = ""
	c.options = o
	return c, nil
}

// jsonText is how a text stands inside JSON.
func jsonText(s string, html bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	if encoder.Encode(s) != nil {
		return ""
	}
	return strings.Trim(strings.TrimSpace(b.String()), `"`)
}

// Address gives the host and port that the client speaks to.
func (c *Client) Address() string { return c.options.Address }

// Get reads what is at a path. Out is as for json.Unmarshal, or nil.
func (c *Client) Get(ctx context.Context, path Path, query url.Values, out any) error {
	return c.guarded(ctx, &request{method: http.MethodGet, path: path, query: query, out: out, repeatable: true}, nil)
}

// Post creates an object in a collection, or runs a command. It is repeated only while the
// device cannot have done it; after that the error is ErrUnknownOutcome.
func (c *Client) Post(ctx context.Context, path Path, body, out any) error {
	return c.guarded(ctx, &request{method: http.MethodPost, path: path, out: out}, body)
}

// Patch sets fields of an object. The values have to be such that setting them twice is the
// same as once, because a lost answer makes it repeat.
func (c *Client) Patch(ctx context.Context, path Path, body, out any) error {
	return c.guarded(ctx, &request{method: http.MethodPatch, path: path, out: out, repeatable: true}, body)
}

// Delete removes an object. ErrNotFound says that it was not there; that it has gone since
// an attempt whose answer was lost is success.
func (c *Client) Delete(ctx context.Context, path Path) error {
	return c.guarded(ctx, &request{method: http.MethodDelete, path: path, repeatable: true}, nil)
}

// Close deletes the client's token and ends its connections. Requests that are made later
// fail with ErrClosed, those in progress may fail. The error says that a token is left on
// the device, which then ends by itself.
func (c *Client) Close(ctx context.Context) error {
	defer c.http.CloseIdleConnections()
	return c.session.close(ctx)
}

// guarded sends a request for an object, if it is allowed.
func (c *Client) guarded(ctx context.Context, r *request, body any) error {
	if err := c.prepare(r, body); err != nil {
		return err
	}
	return c.do(ctx, r)
}

func (c *Client) prepare(r *request, body any) error {
	if err := r.path.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	if err := r.encode(body); err != nil {
		return err
	}
	if c.options.Allowed == nil {
		return nil
	}
	target := r.target()
	if err := target.Err(); err != nil {
		return fmt.Errorf("%s %s: the object in the body: %w", r.method, r.path, err)
	}
	if err := c.options.Allowed(r.method, target); err != nil {
		return fmt.Errorf("%s %s was not sent: %w", r.method, target, err)
	}
	return nil
}
