package f5

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
)

// unit is one device.
type unit struct {
	address string
	client  *icontrol.Client
	// version of TMOS, from the links that it sends.
	version string
	// described: domain is the partition's default route domain.
	described bool
	domain    int
}

// platform is what the unit is, for people.
func (u *unit) platform() string {
	return strings.TrimSpace("BIG-IP "+u.version) + " at " + u.address
}

// describe reads what does not change: the partition, once.
func (u *unit) describe(ctx context.Context, partition string) error {
	if u.described {
		return nil
	}
	path := icontrol.Collection("auth", "partition").Sub(partition)
	var answer struct {
		SelfLink string `json:"selfLink"`
		Domain   int    `json:"defaultRouteDomain"`
	}
	if err := u.client.Get(ctx, path, nil, &answer); err != nil {
		if errors.Is(err, icontrol.ErrNotFound) {
			return fmt.Errorf("%s has no partition %s: make it (tmsh create auth partition %s), or correct partition", u.address, partition, partition)
		}
		return fmt.Errorf("read partition %s on %s: %w", partition, u.address, err)
	}
	u.domain, u.version, u.described = answer.Domain, icontrol.Version(answer.SelfLink), true
	return nil
}

// stats reads a tree of statistics.
func (u *unit) stats(ctx context.Context, path icontrol.Path, query url.Values) ([]byte, error) {
	var body json.RawMessage
	if err := u.client.Get(ctx, path, query, &body); err != nil {
		return nil, fmt.Errorf("read counters on %s: %w", u.address, err)
	}
	return body, nil
}

// open makes the clients of an instance; nothing is sent.
func (s *settings) open(logger hclog.Logger, dir string) ([]*unit, error) {
	user, password, err := s.credentials()
	if err != nil {
		return nil, err
	}
	roots, err := s.roots()
	if err != nil {
		return nil, err
	}
	var units []*unit
	for _, a := range s.Addresses {
		c, err := icontrol.New(icontrol.Options{
			Address: a, Username: user, Password: password, RootCAs: roots, ServerName: s.ServerName,
			RequestTimeout: time.Duration(s.RequestTimeout), CommitTimeout: time.Duration(s.CommitTimeout),
			Allowed: s.allowed(), Logger: logger, Keeper: keeper(dir, a),
		})
		if err != nil {
			return nil, err
		}
		units = append(units, &unit{address: a, client: c})
	}
	return units, nil
}

// keeper holds the token of one unit for the process that comes after this one.
func keeper(dir, address string) icontrol.Keeper {
	if dir == "" {
		return nil
	}
	return icontrol.KeepIn(filepath.Join(dir, "token-"+strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || r == ':' {
			return '_'
		}
		return r
	}, address)))
}

// allowed keeps requests to the partition. What an import reads may be anywhere.
func (s *settings) allowed() func(string, icontrol.Path) error {
	within := icontrol.Within(s.Partition)
	return func(method string, path icontrol.Path) error {
		if method == "GET" {
			return nil
		}
		return within(method, path)
	}
}

// memberStats reads the counters of a pool's members.
func (u *unit) memberStats(ctx context.Context, pool string) ([]byte, error) {
	name, err := icontrol.ParseName(pool)
	if err != nil {
		return nil, err
	}
	return u.stats(ctx, icontrol.Collection("ltm", "pool").Object(name).Sub("members", "stats"), nil)
}

// pageSize is how many objects of a kind are asked for at a time: a few requests for
// thousands, and none that takes a device a minute.
const pageSize = 500

// read reads what a partition holds. Nodes are those of all partitions: an address is one
// node on a whole device.
func (u *unit) read(ctx context.Context, partition string, kinds []ltm.Kind) (*ltm.State, error) {
	state := &ltm.State{Partition: partition, DefaultDomain: u.domain}
	for _, kind := range kinds {
		path, err := icontrol.ParsePath(kind.Collection())
		if err != nil {
			return nil, err
		}
		query := url.Values{}
		if kind != ltm.KindNode {
			query.Set("$filter", "partition eq "+partition)
		}
		if kind.Expanded() {
			query.Set("expandSubcollections", "true")
		}
		err = u.client.List(ctx, path, query, pageSize, func(item json.RawMessage) error { return state.Add(kind, item) })
		if err != nil {
			return nil, fmt.Errorf("read %s of partition %s on %s: %w", kind, partition, u.address, err)
		}
	}
	return state, nil
}
