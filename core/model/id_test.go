package model

import (
	"net/netip"
	"reflect"
	"testing"
	"time"
)

func exampleCheck() Check {
	return Check{
		Type:       "tcp",
		Target:     Target{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Source: netip.MustParseAddrPort("192.0.2.9:1"), Interface: "eth0", FWMark: 1},
		Parameters: `{"a":1}`,
		Schedule:   Schedule{Interval: 6 * time.Second, Timeout: 3 * time.Second, Retries: 3, RetryDelay: 2 * time.Second, Warmup: time.Second},
	}
}

// The id is stored nowhere, but it is in logs and status of several directors, which
// people compare: it must not change by accident.
func TestCheckIDIsStable(t *testing.T) {
	if got, want := exampleCheck().ID(), CheckID("e85bded2bc8e86e5"); got != want {
		t.Errorf("id of the example is %s, want %s", got, want)
	}
	if exampleCheck().ID() != exampleCheck().ID() {
		t.Error("equal checks have different ids")
	}
}

// Every field counts, one that is added later too.
func TestCheckIDCountsEveryField(t *testing.T) {
	base := exampleCheck()
	seen := map[CheckID]string{base.ID(): "the example"}
	var visit func(path string, v reflect.Value, changed *Check)
	visit = func(path string, v reflect.Value, changed *Check) {
		if v.Type() == reflect.TypeFor[netip.AddrPort]() {
			old := v.Interface().(netip.AddrPort)
			for _, other := range []netip.AddrPort{
				netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), old.Port()),
				netip.AddrPortFrom(old.Addr(), 81),
				netip.AddrPortFrom(netip.Addr{}, 5),
				netip.AddrPortFrom(netip.Addr{}, 0),
			} {
				v.Set(reflect.ValueOf(other))
				note(t, seen, *changed, path+"="+other.Addr().String())
			}
			v.Set(reflect.ValueOf(old))
			return
		}
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				visit(path+"."+v.Type().Field(i).Name, v.Field(i), changed)
			}
		case reflect.String:
			old := v.String()
			v.SetString(old + "x")
			note(t, seen, *changed, path)
			v.SetString(old)
		case reflect.Int64:
			old := v.Int()
			v.SetInt(old + 7)
			note(t, seen, *changed, path)
			v.SetInt(old)
		case reflect.Uint8, reflect.Uint32:
			old := v.Uint()
			v.SetUint(old + 7)
			note(t, seen, *changed, path)
			v.SetUint(old)
		default:
			t.Fatalf("%s has kind %s: teach this test and Check.ID about it", path, v.Kind())
		}
	}
	changed := base
	visit("Check", reflect.ValueOf(&changed).Elem(), &changed)
	if len(seen) != 1+2+4+4+2+5+1 {
		t.Errorf("%d different ids, want one for each change", len(seen))
	}
}

func note(t *testing.T, seen map[CheckID]string, c Check, path string) {
	t.Helper()
	id := c.ID()
	if len(id) != 16 {
		t.Errorf("%s: id %q is not 16 digits long", path, id)
	}
	if before, ok := seen[id]; ok {
		t.Errorf("%s has the same id as %s", path, before)
	}
	seen[id] = path
}
