package icontrol

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

// Options are what New needs. Address, Username and Password are required.
type Options struct {
	// Address is the management address, "host" or "host:port"; the port is 443 otherwise.
	Address  string
	Username string
	Password Secret
	// LoginProvider is whom the device asks about the user; "tmos" if empty.
	LoginProvider string

	// RootCAs are who may have signed the device's certificate; nil: the system's.
	RootCAs *x509.CertPool
	// ServerName is the name in the certificate; the host of Address if empty.
	ServerName string

	// RequestTimeout bounds one attempt of a request, its answer included; 10 s if 0.
	RequestTimeout time.Duration
	// CommitTimeout is the same for what takes a device long: the commit of a transaction,
	// config-sync, saving; 60 s if 0, after which a device gives up by itself.
	CommitTimeout time.Duration
	// MaxBody bounds an answer; 32 MiB if 0.
	MaxBody int64
	Retry   Retry

	// Allowed refuses, before anything is sent, requests for what is not ours. The path of a
	// POST is that of the object it would make, as far as the body names one. Not asked about
	// are logins and tokens, transactions as such (but their commands are), and what Client
	// has methods of its own for: the state of the device, config-sync and saving. Nil allows
	// all. See [Within].
	Allowed func(method string, path Path) error

	// Keeper, if not nil, remembers the token for the process after this one: see KeepIn.
	Keeper Keeper

	// Logger is told of retries and logins; nil: nobody is.
	Logger Logger
	// Clock is the time; nil: the system's.
	Clock Clock
}

// Retry is how often and when a request is repeated.
type Retry struct {
	// Attempts is how often a request is sent at most; 4 if 0.
	Attempts int
	// Min and Max bound the wait before a repetition; 1 s and 60 s if 0.
	Min, Max time.Duration
}

// wait is how long to wait after the given number of attempts: at random, so that clients
// that failed together do not come back together, and more with every attempt.
func (r Retry) wait(attempts int) time.Duration {
	ceiling := r.Max
	if attempts < 32 && r.Min<<attempts > 0 {
		ceiling = min(r.Max, r.Min<<attempts)
	}
	if ceiling <= r.Min {
		return r.Min
	}
	return r.Min + rand.N(ceiling-r.Min+1)
}

// Logger is the part of hclog.Logger that is used.
type Logger interface {
	Debug(message string, args ...any)
	Warn(message string, args ...any)
}

// Clock is the time, for tests. Now has to be monotonic.
type Clock interface {
	Now() time.Time
	// Sleep gives the context's error if that ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

type silence struct{}

func (silence) Debug(string, ...any) {}
func (silence) Warn(string, ...any)  {}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// complete checks and fills in defaults.
func (o Options) complete() (Options, error) {
	address, err := hostPort(o.Address)
	if err != nil {
		return o, err
	}
	o.Address = address
	if o.Username == "" || o.Password == "" {
		return o, fmt.Errorf("BIG-IP %s: username and password are required", o.Address)
	}
	if o.RequestTimeout < 0 || o.CommitTimeout < 0 || o.MaxBody < 0 || o.Retry.Attempts < 0 || o.Retry.Min < 0 || o.Retry.Max < 0 {
		return o, fmt.Errorf("BIG-IP %s: timeouts, limits and retries must not be negative", o.Address)
	}
	orDefault(&o.LoginProvider, "tmos")
	orDefault(&o.RequestTimeout, 10*time.Second)
	orDefault(&o.CommitTimeout, time.Minute)
	orDefault(&o.MaxBody, 32<<20)
	orDefault(&o.Retry.Attempts, 4)
	orDefault(&o.Retry.Min, time.Second)
	orDefault(&o.Retry.Max, time.Minute)
	o.Retry.Max = max(o.Retry.Max, o.Retry.Min)
	if o.Logger == nil {
		o.Logger = silence{}
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	return o, nil
}

func orDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func hostPort(address string) (string, error) {
	const https = "443"
	host, port, err := net.SplitHostPort(address)
	var problem *net.AddrError
	if errors.As(err, &problem) && problem.Err == "missing port in address" {
		host, port, err = net.SplitHostPort(address + ":" + https)
	} else if err != nil && net.ParseIP(address) != nil {
		host, port, err = address, https, nil
	}
	if err != nil {
		return "", fmt.Errorf("management address %q: %w", address, err)
	}
	if host == "" {
		return "", fmt.Errorf("management address %q has no host", address)
	}
	if strings.ContainsFunc(host, func(r rune) bool { return !isAlphanumeric(r) && !strings.ContainsRune("-_.:", r) }) {
		return "", fmt.Errorf("management address %q: write it as HOST or HOST:PORT", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("management address %q: port %q is not a number from 1 to 65535", address, port)
	}
	return net.JoinHostPort(host, port), nil
}
