package store

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/poise-lb/poise/core/model"
)

var (
	web   = model.ServiceKey{Addr: netip.MustParseAddr("192.0.2.100"), Port: 80, Protocol: model.TCP}
	dns6  = model.ServiceKey{Addr: netip.MustParseAddr("2001:db8::100"), Port: 53, Protocol: model.UDP, IPv6: true}
	mark6 = model.ServiceKey{FWMark: 3, IPv6: true}
	real1 = model.RealServerKey{Service: web, Addr: netip.MustParseAddrPort("192.0.2.1:80")}
	real2 = model.RealServerKey{Service: dns6, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")}
)

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, problems, err := Open(dir)
	if err != nil || len(problems) > 0 {
		t.Fatalf("open %s: %v, %v", dir, problems, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestStateOutlivesTheDaemon(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	ten := uint32(10)
	overrides := map[model.RealServerKey]model.Override{
		real1: {Admin: model.Drain, Deadline: time.Date(2026, 1, 1, 12, 0, 0, 5, time.UTC), Weight: &ten},
		real2: {Admin: model.Maintenance},
	}
	owned := Owned{Services: []model.ServiceKey{mark6, web}, Sync: true, RealServers: []model.RealServerKey{real2, real1}}
	s := open(t, dir)
	for key, o := range overrides {
		must(t, s.SetOverride(key, o))
	}
	must(t, s.SetOwned(owned))
	must(t, s.Close())

	s = open(t, dir)
	if got := s.Overrides(); !reflect.DeepEqual(got, overrides) {
		t.Errorf("overrides are %v, want %v", got, overrides)
	}
	if got := s.Override(real1); !reflect.DeepEqual(got, overrides[real1]) {
		t.Errorf("override is %v", got)
	}
	got := s.Owned()
	if !sameSet(got.Services, owned.Services) || !got.Sync || !sameSet(got.RealServers, owned.RealServers) {
		t.Errorf("owned is %v, want %v", got, owned)
	}

	must(t, s.SetOverride(real1, model.Override{}))
	must(t, s.SetOwned(Owned{}))
	must(t, s.Close())
	s = open(t, dir)
	if got := s.Overrides(); len(got) != 1 || got[real2].Admin != model.Maintenance {
		t.Errorf("overrides are %v after one was taken back", got)
	}
	if got := s.Owned(); len(got.Services) != 0 || got.Sync || got.RealServers != nil {
		t.Errorf("owned is %v, want nothing", got)
	}
}

func sameSet[K comparable](a, b []K) bool {
	count := map[K]int{}
	for _, k := range a {
		count[k]++
	}
	for _, k := range b {
		count[k]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// No real servers and not knowing the real servers are two things.
func TestNoRealServersIsKnown(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	must(t, s.SetOwned(Owned{RealServers: []model.RealServerKey{}}))
	must(t, s.Close())
	if got := open(t, dir).Owned().RealServers; got == nil || len(got) != 0 {
		t.Errorf("real servers are %#v, want none", got)
	}
}

func TestFileIsWrittenOnlyWhenSomethingDiffers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	s := open(t, dir)
	must(t, s.SetOwned(Owned{Services: []model.ServiceKey{web, dns6}}))
	before, err := os.Stat(path)
	must(t, err)
	if before.Mode().Perm() != 0o600 {
		t.Errorf("mode is %v, want 0600", before.Mode())
	}
	must(t, s.SetOwned(Owned{Services: []model.ServiceKey{web, dns6}}))
	must(t, s.SetOwned(Owned{Services: []model.ServiceKey{dns6, web}}))
	must(t, s.SetOverride(real1, model.Override{}))
	after, err := os.Stat(path)
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the file was written again though nothing differs")
	}
	must(t, s.SetOwned(Owned{Services: []model.ServiceKey{web}}))
	if after, err = os.Stat(path); err != nil || os.SameFile(before, after) {
		t.Errorf("the file was not replaced by a new one: %v", err)
	}
}

func TestFailedWriteChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	must(t, s.SetOverride(real1, model.Override{Admin: model.Drain}))
	must(t, os.RemoveAll(dir))
	if err := s.SetOverride(real2, model.Override{Admin: model.Drain}); err == nil || !strings.Contains(err.Error(), real2.String()) {
		t.Errorf("override kept in a directory that has gone: %v", err)
	}
	if err := s.SetOwned(Owned{Services: []model.ServiceKey{web}}); err == nil {
		t.Error("owned kept in a directory that has gone")
	}
	if got := s.Overrides(); len(got) != 1 || got[real1].Admin != model.Drain {
		t.Errorf("overrides are %v", got)
	}
	if got := s.Owned(); len(got.Services) != 0 {
		t.Errorf("owned is %v", got)
	}
	// When the disk is well again, the same state is written though it is not new.
	must(t, os.Mkdir(dir, 0o700))
	must(t, s.SetOverride(real1, model.Override{Admin: model.Drain}))
	if _, err := os.Stat(filepath.Join(dir, fileName)); err != nil {
		t.Error(err)
	}
}

func TestCallersCannotChangeTheState(t *testing.T) {
	s := open(t, t.TempDir())
	services := []model.ServiceKey{web}
	must(t, s.SetOwned(Owned{Services: services}))
	services[0] = dns6
	s.Owned().Services[0] = dns6
	s.Overrides()[real1] = model.Override{Admin: model.Drain}
	if got := s.Owned().Services[0]; got != web {
		t.Errorf("owned is %v", got)
	}
	if got := s.Overrides(); len(got) != 0 {
		t.Errorf("overrides are %v", got)
	}
}

func TestCorruptFileIsSetAside(t *testing.T) {
	for name, content := range map[string]string{
		"empty":          "",
		"cut short":      `{"version": 1, "owned": {`,
		"not ours":       "hello",
		"no version":     `{"owned": {"real_servers": null}}`,
		"unknown key":    `{"version": 1, "owned": {"real_servers": null}, "more": 1}`,
		"bad address":    `{"version": 1, "owned": {"virtual_servers": ["TCP 192.0.2.999:80"], "real_servers": null}}`,
		"bad protocol":   `{"version": 1, "owned": {"virtual_servers": ["XYZ 192.0.2.9:80"], "real_servers": null}}`,
		"bad override":   `{"version": 1, "overrides": [{"virtual_server": "FWM 1", "real_server": "192.0.2.1:80", "admin": "?"}], "owned": {"real_servers": null}}`,
		"bad real":       `{"version": 1, "owned": {"real_servers": {"FWM 1": ["x"]}}}`,
		"more after it":  `{"version": 1, "owned": {"real_servers": null}} {}`,
		"negative":       `{"version": -1, "owned": {"real_servers": null}}`,
		"weight too big": `{"version": 1, "overrides": [{"virtual_server": "FWM 1", "real_server": "192.0.2.1:80", "admin": "ready", "weight": 4294967296}], "owned": {"real_servers": null}}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			must(t, os.WriteFile(path, []byte(content), 0o600))
			s, problems, err := Open(dir)
			must(t, err)
			defer s.Close()
			if len(problems) != 1 || !strings.Contains(problems[0], path) || !strings.Contains(problems[0], "ipvsadm") {
				t.Errorf("problems are %q", problems)
			}
			aside, err := filepath.Glob(path + ".corrupt-*")
			must(t, err)
			if len(aside) != 1 {
				t.Fatalf("set aside: %v", aside)
			}
			if kept, _ := os.ReadFile(aside[0]); string(kept) != content {
				t.Errorf("what was set aside is %q", kept)
			}
			must(t, s.SetOverride(real1, model.Override{Admin: model.Drain}))
		})
	}
}

func TestNewerFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	must(t, os.WriteFile(path, []byte(`{"version": 2, "whatever": {}}`), 0o600))
	for range 2 { // the first refusal leaves no lock behind
		_, _, err := Open(dir)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "upgrade") {
			t.Fatalf("error is %v", err)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file has gone: %v", err)
	}
}

func TestDirectoryBelongsToOneDaemon(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, _, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())+")") || !strings.Contains(err.Error(), "--state-dir") {
		t.Fatalf("second daemon: %v", err)
	}
	must(t, s.SetOverride(real1, model.Override{Admin: model.Drain}))
	must(t, s.Close())
	if got := open(t, dir).Overrides(); len(got) != 1 {
		t.Errorf("overrides are %v", got)
	}
}

func TestLeftOversOfACrashAreRemoved(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, tempPrefix+"123")
	must(t, os.WriteFile(left, []byte("{"), 0o600))
	open(t, dir)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

func TestUnusableDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, _, err := Open(path); err == nil || !strings.Contains(err.Error(), "--state-dir") {
		t.Errorf("error is %v", err)
	}
}

func drawKey(t *rapid.T) model.ServiceKey {
	if rapid.Bool().Draw(t, "mark") {
		return model.ServiceKey{FWMark: rapid.Uint32Min(1).Draw(t, "fwmark"), IPv6: rapid.Bool().Draw(t, "inet6")}
	}
	a := drawAddr(t)
	return model.ServiceKey{Addr: a.Addr(), Port: a.Port(), IPv6: a.Addr().Is6(), Protocol: rapid.SampledFrom([]model.Protocol{model.TCP, model.UDP, model.SCTP}).Draw(t, "protocol")}
}

func drawAddr(t *rapid.T) netip.AddrPort {
	bytes := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
	addr := netip.AddrFrom16([16]byte(bytes))
	if rapid.Bool().Draw(t, "ipv4") {
		addr = netip.AddrFrom4([4]byte(bytes[:4]))
	}
	return netip.AddrPortFrom(addr, rapid.Uint16().Draw(t, "port"))
}

// What is encoded is decoded to the same.
func TestEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &state{overrides: map[model.RealServerKey]model.Override{}, owned: Owned{Sync: rapid.Bool().Draw(t, "sync")}}
		for range rapid.IntRange(0, 4).Draw(t, "overrides") {
			o := model.Override{Admin: model.Admin(rapid.IntRange(0, 2).Draw(t, "admin"))}
			if rapid.Bool().Draw(t, "has weight") {
				w := rapid.Uint32().Draw(t, "weight")
				o.Weight = &w
			}
			if rapid.Bool().Draw(t, "has deadline") {
				o.Deadline = time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, "deadline"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
			}
			want.overrides[model.RealServerKey{Service: drawKey(t), Addr: drawAddr(t)}] = o
		}
		services := map[model.ServiceKey]bool{}
		for range rapid.IntRange(0, 4).Draw(t, "services") {
			services[drawKey(t)] = true
		}
		want.owned.Services = slices.Collect(maps.Keys(services))
		data, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(data)
		if err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if !reflect.DeepEqual(got.overrides, want.overrides) || !sameSet(got.owned.Services, want.owned.Services) || got.owned.Sync != want.owned.Sync {
			t.Fatalf("got %+v, want %+v, from %s", got, want, data)
		}
	})
}

func FuzzDecode(f *testing.F) {
	ten := uint32(10)
	s := &state{
		overrides: map[model.RealServerKey]model.Override{real1: {Admin: model.Drain, Deadline: time.Unix(1, 2), Weight: &ten}},
		owned:     Owned{Services: []model.ServiceKey{web, mark6}, Sync: true, RealServers: []model.RealServerKey{real1, real2}},
	}
	data, err := s.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version": 1, "owned": {"real_servers": null}}`))
	f.Add([]byte(`{"version": 2}`))
	f.Add([]byte(`{"version": 1, "overrides": [{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			return
		}
		encoded, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(encoded)
		if err != nil {
			t.Fatalf("%v in %s", err, encoded)
		}
		if twice, err := again.encode(); err != nil || string(twice) != string(encoded) {
			t.Fatalf("%v: %s became %s", err, encoded, twice)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, key := range []model.ServiceKey{web, dns6, mark6, {FWMark: 1}} {
		f.Add(key.String())
	}
	f.Add("FWM 0")
	f.Add("TCP [fe80::1%eth0]:80")
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseKey(text)
		if err != nil {
			return
		}
		if again, err := parseKey(key.String()); err != nil || again != key {
			t.Fatalf("%q is %v, its text %q is %v: %v", text, key, key.String(), again, err)
		}
	})
}

func BenchmarkSetOwnedSame(b *testing.B) {
	s, _, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var o Owned
	for i := range 100 {
		v := model.ServiceKey{Addr: web.Addr, Port: uint16(i + 1), Protocol: model.TCP}
		o.Services = append(o.Services, v)
		for j := range 100 {
			o.RealServers = append(o.RealServers, model.RealServerKey{Service: v, Addr: netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:80", j+1))})
		}
	}
	for b.Loop() {
		if err := s.SetOwned(o); err != nil {
			b.Fatal(err)
		}
	}
}
