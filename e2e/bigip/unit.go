package bigip

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/poise-lb/poise/e2e/bigip/internal/auth"
	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// Options of a unit. The zero value is a device with the user admin, whose password is
// admin, and no partition but Common.
type Options struct {
	// Name is the host name, and that of the device in its device group.
	// Default: bigip-a.example.net.
	Name string
	// Version is the TMOS version that bodies name. Default: 16.1.2.
	Version string
	// Users are names with passwords. Default: admin with admin.
	Users map[string]string
	// Partitions are made besides Common.
	Partitions []string
	// Clock is the device's. Default: one of its own, running.
	Clock *Clock
	// Unverified chooses where it is not known what a device does.
	Unverified Unverified
}

// Unverified are the points for which no device was asked. A client must work with either
// choice: none of them may be what a test relies on.
type Unverified struct {
	// KeepOmittedMemberFields: fields that an inline list of members leaves out keep
	// their values in members that are there already. Otherwise they go back to their
	// defaults.
	KeepOmittedMemberFields bool
}

// Unit is one BIG-IP.
type Unit struct {
	options Options
	clock   *Clock
	authority

	// mu guards what follows. Units of a pair share it.
	mu           *sync.Mutex
	store        *state.Store
	saved        *state.Config
	saves        int
	tokens       *auth.Table
	transactions map[int64]*transaction
	tasks        map[int]*task
	lastID       int64
	requests     []Request
	sequence     int
	faults       []*ActiveFault
	stats        map[string]map[string]any
	health       map[string]string
	foreign      []foreignKey
	failover     string
	pair         *Pair
	changed      bool

	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

// New is a unit on its own: active, and "Standalone" when asked for its sync status.
func New(options Options) *Unit {
	if options.Clock == nil {
		options.Clock = &Clock{}
	}
	return newUnit(options, &sync.Mutex{}, newAuthority())
}

func newUnit(options Options, mu *sync.Mutex, ca authority) *Unit {
	if options.Name == "" {
		options.Name = "bigip-a.example.net"
	}
	if options.Version == "" {
		options.Version = "16.1.2"
	}
	if options.Users == nil {
		options.Users = map[string]string{"admin": "admin"}
	}
	u := &Unit{
		options: options, clock: options.Clock, authority: ca, mu: mu,
		store: state.New(), tokens: auth.New(maps.Clone(options.Users)),
		transactions: map[int64]*transaction{}, tasks: map[int]*task{},
		stats: map[string]map[string]any{}, health: map[string]string{}, failover: Active,
	}
	u.store.KeepOmitted = options.Unverified.KeepOmittedMemberFields
	for _, name := range options.Partitions {
		u.must("auth/partition", "", map[string]any{"name": name})
	}
	u.saved, u.changed = u.store.Config, false
	return u
}

// must makes an object that the simulator itself wants.
func (u *Unit) must(kind, owner string, body map[string]any) *state.Object {
	e := u.store.Begin(u.clock.Now())
	o, err := e.Create(kind, owner, body)
	if err != nil {
		panic(fmt.Sprintf("bigip: make %s %v: %s", kind, body["name"], err.Message))
	}
	u.store.Take(e)
	return o
}

// Name is the unit's host name.
func (u *Unit) Name() string { return u.options.Name }

// Clock is the unit's clock, which a pair shares.
func (u *Unit) Clock() *Clock { return u.clock }

// Start serves on an address, with TLS. "" is a free port of 127.0.0.1. The socket belongs
// to the network namespace of the calling thread.
func (u *Unit) Start(address string) error {
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen as %s: %w", u.options.Name, err)
	}
	return u.Serve(l)
}

// Serve is Start for a listener that is there already. It returns at once.
func (u *Unit) Serve(l net.Listener) error {
	certificate, err := u.authority.issue(u.options.Name, l.Addr())
	if err != nil {
		return errors.Join(fmt.Errorf("make a certificate for %s: %w", u.options.Name, err), l.Close())
	}
	server := &http.Server{
		Handler:           u,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
		// The device speaks HTTP/1.1 only.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	done := make(chan struct{})
	u.mu.Lock()
	u.listener, u.server, u.done = l, server, done
	u.mu.Unlock()
	go func() {
		defer close(done)
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}))
	}()
	return nil
}

// Addr is where the unit listens: host and port.
func (u *Unit) Addr() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.listener == nil {
		return ""
	}
	return u.listener.Addr().String()
}

// URL is https:// and Addr.
func (u *Unit) URL() string { return "https://" + u.Addr() }

// Close stops listening and breaks all connections. The configuration stays: a unit can
// be started again, as after a loss of the network.
func (u *Unit) Close() error {
	u.mu.Lock()
	server, done := u.server, u.done
	u.server = nil
	u.mu.Unlock()
	if server == nil {
		return nil
	}
	u.ClearFaults()
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close %s: %w", u.options.Name, err)
	}
	<-done
	return nil
}

// Restart is what is left after the unit's management processes start again: tokens,
// transactions and tasks are gone.
func (u *Unit) Restart() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.restart()
}

func (u *Unit) restart() {
	u.tokens.Forget()
	clear(u.transactions)
	clear(u.tasks)
}

// Reboot is Restart, and changes that were not saved are lost.
func (u *Unit) Reboot() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.restart()
	u.store.Copy(u.saved)
}

// Saves is how often the configuration was saved.
func (u *Unit) Saves() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.saves
}

// Saved tells whether all changes would outlive a reboot.
func (u *Unit) Saved() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return string(u.saved.Dump()) == string(u.store.Config.Dump())
}

// Dump is the whole configuration as JSON: the same bytes for the same configuration,
// generations included.
func (u *Unit) Dump() []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.settle()
	return u.store.Config.Dump()
}

func (u *Unit) view() state.View {
	return state.View{Version: u.options.Version, Health: func(o *state.Object) string { return u.health[o.Address()] }}
}

// settle lets what is due by the clock happen: a config-sync that takes time.
func (u *Unit) settle() {
	if u.pair != nil {
		u.pair.settle()
	}
}

// take makes a change the configuration, and tells the pair.
func (u *Unit) take(e *state.Edit) {
	before := u.store.Generation
	u.store.Take(e)
	if u.store.Generation != before {
		u.changed = true
		if u.pair != nil {
			u.pair.change(u)
		}
	}
}
