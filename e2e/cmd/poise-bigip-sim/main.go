// Command poise-bigip-sim runs a simulated BIG-IP, or a pair, to be tried by hand and by
// other programs. What it simulates is in e2e/bigip; the addresses of the control surface
// are in the comment of bigip.Admin and in the README there.
//
//	poise-bigip-sim -listen 127.0.0.1:8443 -partition lab -ca /tmp/ca.pem
//	poise-bigip-sim -pair -listen 127.0.0.1:8443 -peer 127.0.0.1:8444 -autosync
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

type options struct {
	listen, peer, admin, ca, version string
	pair, autoSync                   bool
	delay                            time.Duration
	partitions, foreign, users       string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8443", "address of the unit, or of the first of a pair")
	flag.StringVar(&o.admin, "admin", "127.0.0.1:8480", "address of the control surface, plain HTTP; empty: none")
	flag.BoolVar(&o.pair, "pair", false, "two units of a device group")
	flag.StringVar(&o.peer, "peer", "127.0.0.1:8444", "address of the second unit")
	flag.BoolVar(&o.autoSync, "autosync", false, "changes reach the other unit by themselves")
	flag.DurationVar(&o.delay, "sync-delay", time.Second, "how long a config-sync takes")
	flag.StringVar(&o.partitions, "partition", "", "partitions to make, with commas")
	flag.StringVar(&o.foreign, "foreign", "", "partitions to make foreign objects in, with commas")
	flag.StringVar(&o.users, "user", "admin:admin", "users as name:password, with commas")
	flag.StringVar(&o.version, "tmos", "", "TMOS version to show")
	flag.StringVar(&o.ca, "ca", "", "file to write the certificate authority to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "poise-bigip-sim:", err)
		os.Exit(1)
	}
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func run(ctx context.Context, o options) (err error) {
	settings := bigip.Options{Partitions: list(o.partitions), Version: o.version, Users: map[string]string{}}
	for _, entry := range list(o.users) {
		name, password, found := strings.Cut(entry, ":")
		if !found {
			return fmt.Errorf("read -user: %q is not name:password", entry)
		}
		settings.Users[name] = password
	}
	var units []*bigip.Unit
	var admin *bigip.Admin
	if o.pair {
		p := bigip.NewPair(bigip.PairOptions{Options: settings, AutoSync: o.autoSync, SyncDelay: o.delay})
		p.AddForeign(list(o.foreign)...)
		units, admin = p.Units(), bigip.NewPairAdmin(p)
	} else {
		u := bigip.New(settings)
		u.AddForeign(list(o.foreign)...)
		units, admin = []*bigip.Unit{u}, bigip.NewAdmin(u)
	}
	for i, address := range []string{o.listen, o.peer}[:len(units)] {
		if err := units[i].Start(address); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, units[i].Close()) }()
		fmt.Printf("%s %s\n", units[i].Name(), units[i].URL())
	}
	if o.ca != "" {
		if err := os.WriteFile(o.ca, units[0].CA(), 0o644); err != nil {
			return fmt.Errorf("write the certificate authority: %w", err)
		}
	}
	if o.admin != "" {
		l, err := net.Listen("tcp", o.admin)
		if err != nil {
			return fmt.Errorf("listen for the control surface: %w", err)
		}
		server := &http.Server{Handler: admin, ReadHeaderTimeout: time.Minute}
		defer server.Close()
		go func() { _ = server.Serve(l) }()
		fmt.Printf("control http://%s\n", l.Addr())
	}
	<-ctx.Done()
	return nil
}
