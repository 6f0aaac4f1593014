package bigip

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Admin is the control surface of poise-bigip-sim: what a test does through Go, for hands
// and programs. Every address takes ?unit=NAME or ?unit=a and b; without it, it is about
// the first unit, or about all where that makes sense. Plain HTTP, no credentials: it is
// to be served to 127.0.0.1 only.
//
//	GET    /ca                     the certificate authority, PEM
//	GET    /dump /foreign          configuration, foreign objects
//	POST   /foreign                {"partitions": ["lab", "Common"]}
//	GET    /requests               the log; DELETE empties it
//	POST   /faults                 {"kind": "html-503", "times": 3, "for": "10s", …}
//	DELETE /faults
//	GET    /clock                  POST {"advance": "20m"} or {"set": "2026-01-02T03:04:05Z"}
//	GET    /failover               POST {"active": ["a"]}: one, none or both; or {"switch": true}
//	GET    /sync                   POST {"delay": "5s", "apart": false}
//	POST   /stats                  {"kind": "ltm/pool/members", "object": "/lab/web /lab/10.0.0.1:80", "values": {…}}
//	POST   /health                 {"kind": …, "object": …, "health": "up"}
//	POST   /restart                {"reboot": false}
//	POST   /apply                  {"method": "PATCH", "path": "ltm/pool/~lab~web", "body": {…}}
type Admin struct {
	units []*Unit
	pair  *Pair
	mux   *http.ServeMux
}

// NewAdmin is the control surface of a unit.
func NewAdmin(u *Unit) *Admin { return newAdmin([]*Unit{u}, nil) }

// NewPairAdmin is that of a pair.
func NewPairAdmin(p *Pair) *Admin { return newAdmin(p.Units(), p) }

func newAdmin(units []*Unit, pair *Pair) *Admin {
	a := &Admin{units: units, pair: pair, mux: http.NewServeMux()}
	for pattern, f := range map[string]func(*http.Request, []*Unit) (any, error){
		"GET /ca":          func(_ *http.Request, u []*Unit) (any, error) { return u[0].CA(), nil },
		"GET /dump":        func(_ *http.Request, u []*Unit) (any, error) { return u[0].Dump(), nil },
		"GET /foreign":     func(_ *http.Request, u []*Unit) (any, error) { return u[0].Foreign(), nil },
		"GET /requests":    func(_ *http.Request, u []*Unit) (any, error) { return logged(u[0].Requests()), nil },
		"DELETE /requests": each((*Unit).ClearRequests),
		"DELETE /faults":   each((*Unit).ClearFaults),
		"POST /foreign":    a.foreign,
		"POST /faults":     a.fault,
		"GET /clock":       func(_ *http.Request, u []*Unit) (any, error) { return map[string]any{"now": u[0].clock.Now()}, nil },
		"POST /clock":      a.clock,
		"GET /failover":    a.states,
		"POST /failover":   a.failover,
		"GET /sync":        a.states,
		"POST /sync":       a.sync,
		"POST /stats":      a.stats,
		"POST /health":     a.health,
		"POST /restart":    a.restart,
		"POST /apply":      a.apply,
	} {
		a.mux.HandleFunc(pattern, a.handle(f))
	}
	return a
}

func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

var errInput = errors.New("read the request")

func (a *Admin) handle(f func(*http.Request, []*Unit) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		units, err := a.choose(r.URL.Query().Get("unit"))
		var out any
		if err == nil {
			out, err = f(r, units)
		}
		switch {
		case errors.Is(err, errInput):
			http.Error(w, err.Error(), http.StatusBadRequest)
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		default:
			if raw, isRaw := out.([]byte); isRaw {
				_, _ = w.Write(raw)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			e := json.NewEncoder(w)
			e.SetIndent("", " ")
			_ = e.Encode(out)
		}
	}
}

func (a *Admin) choose(name string) ([]*Unit, error) {
	if name == "" {
		return a.units, nil
	}
	for i, u := range a.units {
		if name == u.Name() || name == string(rune('a'+i)) {
			return []*Unit{u}, nil
		}
	}
	return nil, fmt.Errorf("%w: no unit %q", errInput, name)
}

func each(f func(*Unit)) func(*http.Request, []*Unit) (any, error) {
	return func(_ *http.Request, units []*Unit) (any, error) {
		for _, u := range units {
			f(u)
		}
		return map[string]any{}, nil
	}
}

// read decodes the body strictly.
func read(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %w", errInput, err)
	}
	return nil
}

// duration is a time.Duration that is written as "1m30s".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

func logged(requests []Request) []map[string]any {
	out := []map[string]any{}
	for _, r := range requests {
		entry := map[string]any{
			"number": r.Number, "time": r.Time, "method": r.Method, "path": r.Path, "query": r.Query, "body": string(r.Body),
			"transaction": r.Transaction, "user": r.User, "kind": r.Kind, "object": r.Object, "status": r.Status,
		}
		if len(r.Faults) > 0 {
			entry["faults"] = r.Faults
		}
		out = append(out, entry)
	}
	return out
}

func (a *Admin) foreign(r *http.Request, units []*Unit) (any, error) {
	var in struct{ Partitions []string }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if a.pair != nil {
		a.pair.AddForeign(in.Partitions...)
	} else {
		units[0].AddForeign(in.Partitions...)
	}
	return units[0].Foreign(), nil
}

func (a *Admin) fault(r *http.Request, units []*Unit) (any, error) {
	var in struct {
		Kind         FaultKind
		Method, Path string
		After, Times int
		For, Delay   duration
		Command      int
		Message      string
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.Kind == "" {
		return nil, fmt.Errorf("%w: no kind of fault", errInput)
	}
	for _, u := range units {
		u.Fault(Fault{
			Kind: in.Kind, Method: in.Method, Path: in.Path, After: in.After, Times: in.Times,
			For: time.Duration(in.For), Delay: time.Duration(in.Delay), Command: in.Command, Message: in.Message,
		})
	}
	return map[string]any{}, nil
}

func (a *Admin) clock(r *http.Request, units []*Unit) (any, error) {
	var in struct {
		Advance duration
		Set     *time.Time
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.Set != nil {
		units[0].clock.Set(*in.Set)
	}
	units[0].clock.Advance(time.Duration(in.Advance))
	return map[string]any{"now": units[0].clock.Now()}, nil
}

func (a *Admin) states(*http.Request, []*Unit) (any, error) {
	out := []map[string]any{}
	for _, u := range a.units {
		out = append(out, map[string]any{
			"name": u.Name(), "address": u.Addr(), "failoverState": u.FailoverState(), "changesPending": u.Pending(), "saved": u.Saved(),
		})
	}
	return out, nil
}

func (a *Admin) failover(r *http.Request, units []*Unit) (any, error) {
	var in struct {
		Active []string
		Switch bool
		State  string
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	switch {
	case in.State != "":
		for _, u := range units {
			u.SetFailoverState(in.State)
		}
	case a.pair == nil:
		return nil, fmt.Errorf("switch over: %s is not one of a pair", units[0].Name())
	case in.Switch:
		a.pair.SwitchOver()
	default:
		var active []*Unit
		for _, name := range in.Active {
			chosen, err := a.choose(name)
			if err != nil {
				return nil, err
			}
			active = append(active, chosen...)
		}
		a.pair.SetActive(active...)
	}
	return a.states(nil, nil)
}

func (a *Admin) sync(r *http.Request, units []*Unit) (any, error) {
	var in struct {
		Delay *duration
		Apart *bool
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if a.pair == nil {
		return nil, fmt.Errorf("change how it syncs: %s is not one of a pair", units[0].Name())
	}
	if in.Delay != nil {
		a.pair.SetSyncDelay(time.Duration(*in.Delay))
	}
	if in.Apart != nil {
		a.pair.Disconnect(*in.Apart)
	}
	return a.states(nil, nil)
}

func (a *Admin) stats(r *http.Request, units []*Unit) (any, error) {
	var in struct {
		Kind, Object string
		Values       map[string]any
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	for _, u := range units {
		u.SetStats(in.Kind, in.Object, in.Values)
	}
	return map[string]any{}, nil
}

func (a *Admin) health(r *http.Request, units []*Unit) (any, error) {
	var in struct{ Kind, Object, Health string }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	for _, u := range units {
		u.SetHealth(in.Kind, in.Object, in.Health)
	}
	return map[string]any{}, nil
}

func (a *Admin) restart(r *http.Request, units []*Unit) (any, error) {
	var in struct{ Reboot bool }
	if err := read(r, &in); err != nil {
		return nil, err
	}
	f := (*Unit).Restart
	if in.Reboot {
		f = (*Unit).Reboot
	}
	return each(f)(r, units)
}

func (a *Admin) apply(r *http.Request, units []*Unit) (any, error) {
	var in struct {
		Method, Path string
		Body         map[string]any
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	return units[0].Apply(in.Method, in.Path, in.Body)
}
