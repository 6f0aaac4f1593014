package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

type inner struct {
	Path   string `json:"path" doc:"where"`
	Status []int  `json:"status"`
}

type example struct {
	inner
	URL     []inner        `json:"url"`
	Limit   uint8          `json:"limit"`
	Ratio   float64        `json:"ratio"`
	On      bool           `json:"on"`
	Addr    netip.Addr     `json:"addr"`
	Maybe   *inner         `json:"maybe"`
	Free    map[string]int `json:"free"`
	Hidden  string         `json:"-"`
	private int
}

func TestDecode(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", ``, ""},
		{"space", ` `, ""},
		{"null", `null`, ""},
		{"all", ` {"url":[{"path":"/a","status":[200,204]},{}],"limit":3,"ratio":1.5,"on":true,"addr":"192.0.2.1","maybe":{"path":"x"},"free":{"a":1},"path":"embedded"} `, ""},
		{"nulls", `{"url":null,"limit":null,"maybe":null}`, ""},
		{"unknown key", `{"limits":3}`, `/limits: unknown key "limits"; known are path, status, url, limit, ratio, on, addr, maybe, free`},
		{"case counts", `{"Limit":3}`, `/Limit: unknown key "Limit"`},
		{"unknown key below", `{"url":[{},{"pth":"/"}]}`, `/url/1/pth: unknown key "pth"; known are path, status`},
		{"wrong type below", `{"url":[{"status":[200,"ok"]}]}`, `/url/0/status/1: must be a whole number of at most 64 bits, not string`},
		{"too big", `{"limit":256}`, `/limit: must be a whole number, not negative, of at most 8 bits, not number 256`},
		{"negative", `{"limit":-1}`, `/limit: must be a whole number, not negative, of at most 8 bits, not number -1`},
		{"not a list", `{"url":{}}`, `/url: must be a list, not object`},
		{"not an object", `{"maybe":[]}`, `/maybe: must be an object, not a list`},
		{"no object at all", `[1]`, `must be an object, not a list`},
		{"text unmarshaler", `{"addr":"192.0.2.999"}`, `/addr: `},
		{"map", `{"free":{"a":"b"}}`, `/free: must be a whole number of at most 64 bits, not string`},
		{"hidden", `{"Hidden":"x"}`, `/Hidden: unknown key`},
		{"private", `{"private":1}`, `/private: unknown key`},
		{"escaped", `{"a/b~c":1}`, `/a~1b~0c: unknown key "a/b~c"`},
		{"syntax", `{"limit":3,}`, `not JSON at byte 12: `},
		{"cut off", `{"limit":`, `not JSON at byte 9: `},
		{"two values", `{} {}`, `not JSON at byte 4: `},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got example
			err := Decode(json.RawMessage(test.in), &got)
			if test.want == "" {
				if err != nil {
					t.Errorf("%s: %s", test.in, err)
				}
				return
			}
			var wrong *ParameterError
			if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("%s: %v, want %s", test.in, err, test.want)
			}
		})
	}
}

func TestDecodeKeepsDefaults(t *testing.T) {
	got := example{Limit: 7, URL: []inner{{Path: "/"}}, inner: inner{Path: "kept"}}
	if err := Decode(json.RawMessage(`{"ratio":2}`), &got); err != nil {
		t.Fatal(err)
	}
	want := example{Limit: 7, URL: []inner{{Path: "/"}}, inner: inner{Path: "kept"}, Ratio: 2}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeIntoNothing(t *testing.T) {
	for _, into := range []any{nil, example{}, (*example)(nil), new(int)} {
		if err := Decode(json.RawMessage(`{}`), into); err == nil {
			t.Errorf("decoding into %T gave no error", into)
		}
	}
}

func TestSchema(t *testing.T) {
	var got struct {
		Type       string
		Properties map[string]struct {
			Type    string
			Default any
			Items   struct {
				Properties map[string]struct{ Description string }
			}
		}
		AdditionalProperties bool
	}
	if err := json.Unmarshal(Schema(example{Limit: 7}), &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "object" || got.AdditionalProperties || len(got.Properties) != 9 {
		t.Errorf("got %+v", got)
	}
	if p := got.Properties["limit"]; p.Type != "integer" || p.Default != 7.0 {
		t.Errorf("limit is %+v", p)
	}
	if d := got.Properties["url"].Items.Properties["path"].Description; d != "where" {
		t.Errorf("url/path is described by %q", d)
	}
	if got.Properties["addr"].Type != "string" {
		t.Errorf("addr is %+v", got.Properties["addr"])
	}
}

// FuzzDecode: whatever comes, every error has a path that leads into it, and what is
// taken is also taken by encoding/json.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{``, `null`, `{}`, `[]`, `{"url":[{"path":"/","status":[1]}]}`, `{"a/b":{}}`, `{"maybe":null,"free":{"x":1}}`, `{"addr":"::1"} `, "\x00", `{"url":[nul`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got example
		err := Decode(raw, &got)
		if err == nil {
			if len(strings.TrimSpace(string(raw))) > 0 && json.Unmarshal(raw, &example{}) != nil {
				t.Errorf("took %q, which encoding/json refuses", raw)
			}
			return
		}
		var wrong *ParameterError
		if !errors.As(err, &wrong) || wrong.Message == "" || wrong.Path != "" && wrong.Path[0] != '/' {
			t.Errorf("%q gave %#v", raw, err)
		}
	})
}

// FuzzParseCheck: no check off the wire makes a checker process stumble, and one that
// is taken can be planned.
func FuzzParseCheck(f *testing.F) {
	for _, seed := range []*checkv1.Check{
		{},
		wireChecks(1, time.Second, time.Second, time.Second)[0],
		{Id: "x", Type: "test", Target: &checkv1.Target{Address: "fe80::1%eth0", Port: 65535, SourceAddress: "::1", SourcePort: 1, Interface: "eth0", Fwmark: 1}},
		{Id: "x", Type: "test", Target: &checkv1.Target{Address: "::ffff:192.0.2.1", Port: 70000}, ParametersJson: []byte(`{"a":1}`), Known: stateDown},
	} {
		raw, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	service := &checkService{checkers: map[string]Checker{"test": anyChecker{}}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var wire checkv1.Check
		if proto.Unmarshal(raw, &wire) != nil {
			return
		}
		c, rejected := service.parse(&wire)
		if (c == nil) == (rejected == nil) || rejected != nil && rejected.GetMessage() == "" {
			t.Fatalf("%v gave %v, %v", &wire, c, rejected)
		}
		if c == nil {
			return
		}
		s := newSchedule(epoch, 1)
		s.set(epoch, nil, []*check{c})
		next, ok := s.next()
		if !ok || next.Before(epoch) || next.After(epoch.Add(2*longest)) {
			t.Fatalf("%v is planned for %s", &wire, next)
		}
		if later := c.regular(next.Sub(epoch)); later <= next.Sub(epoch)-slotWidth(c.interval, 0) {
			t.Fatalf("%v: after %s comes %s", &wire, next.Sub(epoch), later)
		}
	})
}

// anyChecker takes objects without keys.
type anyChecker struct{}

func (anyChecker) Parse(raw json.RawMessage) (Prober, error) {
	return proberFunc(func(context.Context, Target) Result { return Result{} }), Decode(raw, &struct{}{})
}
