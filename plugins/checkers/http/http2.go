package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/poise-lb/poise/sdk"
)

// exchange2 makes the request by HTTP/2 over a connection, without an Upgrade: over TLS
// the Connect has agreed on it, else the server has to know.
func (c *Check) exchange2(ctx context.Context, conn net.Conn, target sdk.Target, u *url, deadline time.Time) (step string, err error) {
	give := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		DialContext: give, DialTLSContext: give, DisableCompression: true, DisableKeepAlives: true,
		MaxResponseHeaderBytes: headLimit, Protocols: new(http.Protocols),
	}
	scheme := "http"
	if _, secure := conn.(interface{ NetConn() net.Conn }); secure {
		scheme = "https"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	defer transport.CloseIdleConnections()
	host := c.host(u, target)
	request, err := http.NewRequestWithContext(ctx, c.method, scheme+"://"+host+u.path, nil)
	if err != nil {
		return "make the request", err
	}
	request.Host = host
	request.Header.Set("User-Agent", c.agent())
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	target.Trace("send %s %s by HTTP/2 to host %s", c.method, u.path, host)
	// A redirect is an answer like any other: no client follows it.
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "reply", cause2(err)
	}
	defer response.Body.Close()
	target.Trace("status %d, %s, %d headers", response.StatusCode, response.Proto, len(response.Header))
	if !u.status.has(response.StatusCode) {
		return "reply", statusError(response.StatusCode, u)
	}
	r := &c.reply
	r.begin(u, false, false, deadline)
	pooled := buffers.Get().(*[readSize]byte)
	defer buffers.Put(pooled)
	buffer := pooled[:]
	for {
		n, err := response.Body.Read(buffer)
		if wrong := r.body.write(buffer[:n]); wrong != nil {
			return "reply", wrong
		}
		if errors.Is(err, io.EOF) {
			return "reply", c.judge(target)
		}
		if err != nil {
			return fmt.Sprintf("read the body, of which %d bytes have come", r.body.size), cause2(err)
		}
	}
}

// cause2 makes a deadline that was met in the middle of the library one of ours.
func cause2(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return context.DeadlineExceeded
	}
	return err
}
