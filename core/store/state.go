package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// version of the file's format. It grows when an older poise would misread the file.
const version = 1

// Owned is what of the forwarder's table is ours.
type Owned struct {
	// Services are the virtual servers that we made and that may still be there.
	Services []model.ServiceKey
	// Sync: we started the sync daemon.
	Sync bool
	// RealServers are those of the configuration that was last in force, in the table or
	// not; nil if that is not known. With them a start tells a real server that was
	// taken out from one that is new.
	RealServers []model.RealServerKey
}

// state is all that is kept.
type state struct {
	overrides map[model.RealServerKey]model.Override
	owned     Owned
}

// file is the form on disk.
type file struct {
	Version   int            `json:"version"`
	Overrides []fileOverride `json:"overrides,omitempty"`
	Owned     fileOwned      `json:"owned"`
}

type fileOverride struct {
	VirtualServer string     `json:"virtual_server"`
	RealServer    string     `json:"real_server"`
	Admin         string     `json:"admin"`
	Deadline      *time.Time `json:"deadline,omitempty"`
	Weight        *uint32    `json:"weight,omitempty"`
}

type fileOwned struct {
	VirtualServers []string `json:"virtual_servers,omitempty"`
	ConnectionSync bool     `json:"connection_sync,omitempty"`
	// RealServers are the addresses by virtual server; null: not known.
	RealServers map[string][]string `json:"real_servers"`
}

// errNewer says that a newer poise wrote the file.
var errNewer = errors.New("written by a newer version of poise")

// encode gives the same bytes for the same state.
func (s *state) encode() ([]byte, error) {
	f := file{Version: version, Owned: fileOwned{ConnectionSync: s.owned.Sync}}
	for key, o := range s.overrides {
		entry := fileOverride{VirtualServer: key.Service.String(), RealServer: key.Addr.String(), Admin: o.Admin.String(), Weight: o.Weight}
		if !o.Deadline.IsZero() {
			at := o.Deadline.UTC()
			entry.Deadline = &at
		}
		f.Overrides = append(f.Overrides, entry)
	}
	slices.SortFunc(f.Overrides, func(a, b fileOverride) int {
		return cmp.Or(cmp.Compare(a.VirtualServer, b.VirtualServer), cmp.Compare(a.RealServer, b.RealServer))
	})
	for _, key := range s.owned.Services {
		f.Owned.VirtualServers = append(f.Owned.VirtualServers, key.String())
	}
	slices.Sort(f.Owned.VirtualServers)
	f.Owned.VirtualServers = slices.Compact(f.Owned.VirtualServers)
	if s.owned.RealServers != nil {
		f.Owned.RealServers = map[string][]string{}
		for _, key := range s.owned.RealServers {
			f.Owned.RealServers[key.Service.String()] = append(f.Owned.RealServers[key.Service.String()], key.Addr.String())
		}
		for service, list := range f.Owned.RealServers {
			slices.Sort(list)
			f.Owned.RealServers[service] = slices.Compact(list)
		}
	}
	data, err := json.MarshalIndent(f, "", "  ")
	return append(data, '\n'), err
}

// decode reads a file. It takes nothing that encode would not write, so that a damaged
// file is not taken for a good one.
func decode(data []byte) (*state, error) {
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	if head.Version > version {
		return nil, fmt.Errorf("%w: its version is %d, this poise knows %d", errNewer, head.Version, version)
	}
	if head.Version != version {
		return nil, fmt.Errorf("version %d is unknown", head.Version)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something after the end of the state")
	}
	s := &state{overrides: make(map[model.RealServerKey]model.Override, len(f.Overrides)), owned: Owned{Sync: f.Owned.ConnectionSync}}
	for _, entry := range f.Overrides {
		key, o, err := entry.decode()
		if err != nil {
			return nil, fmt.Errorf("overrides: %w", err)
		}
		s.overrides[key] = o
	}
	for _, text := range f.Owned.VirtualServers {
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("owned: %w", err)
		}
		s.owned.Services = append(s.owned.Services, key)
	}
	if f.Owned.RealServers != nil {
		s.owned.RealServers = []model.RealServerKey{}
	}
	for service, list := range f.Owned.RealServers {
		for _, text := range list {
			key, err := parseRealServer(service, text)
			if err != nil {
				return nil, fmt.Errorf("owned: %w", err)
			}
			s.owned.RealServers = append(s.owned.RealServers, key)
		}
	}
	return s, nil
}

func (e *fileOverride) decode() (model.RealServerKey, model.Override, error) {
	key, err := parseRealServer(e.VirtualServer, e.RealServer)
	if err != nil {
		return key, model.Override{}, err
	}
	o := model.Override{Weight: e.Weight}
	admins := map[string]model.Admin{"ready": model.Ready, "drain": model.Drain, "maint": model.Maintenance}
	admin, ok := admins[e.Admin]
	if !ok {
		return key, o, fmt.Errorf("real server %s: %q is none of ready, drain, maint", key, e.Admin)
	}
	o.Admin = admin
	if e.Deadline != nil {
		o.Deadline = *e.Deadline
	}
	return key, o, nil
}

func parseRealServer(service, addr string) (model.RealServerKey, error) {
	key, err := parseKey(service)
	if err != nil {
		return model.RealServerKey{}, err
	}
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return model.RealServerKey{}, fmt.Errorf("real server %q of %s: %w", addr, service, err)
	}
	return model.RealServerKey{Service: key, Addr: a}, nil
}
