package icontrol

import (
	"testing"
	"time"
)

// model is how a device may understand the timeout of a token, and its clock.
type model struct {
	// fromLogin: the timeout counts from the login, not from now.
	fromLogin bool
	// stamped: a change gets a new stamp.
	stamped bool
	// skew of its clock; drift is how much faster it runs.
	skew  time.Duration
	drift float64
	// refuses to renew.
	refuses bool
}

func (m model) now(local time.Time, epoch time.Time) time.Time {
	passed := local.Sub(epoch)
	return local.Add(m.skew + time.Duration(float64(passed)*m.drift))
}

// TestTokenLife: used every minute for three days, no token is used after its end, and few
// are needed, however the device counts.
func TestTokenLife(t *testing.T) {
	epoch := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	const life, absolute = 1200 * time.Second, 36000 * time.Second
	for _, m := range []model{
		{}, {stamped: true}, {fromLogin: true}, {fromLogin: true, stamped: true},
		{stamped: true, skew: -10 * 365 * 24 * time.Hour}, {fromLogin: true, stamped: true, skew: 300 * 24 * time.Hour},
		{stamped: true, drift: 0.001}, {fromLogin: true, drift: -0.001}, {refuses: true}, {refuses: true, drift: 0.001},
	} {
		var held token
		var start, stamp, end time.Time
		logins, renewals := 0, 0
		for local := epoch; local.Before(epoch.Add(72 * time.Hour)); local = local.Add(time.Minute) {
			device := m.now(local, epoch)
			state := func() tokenState {
				return tokenState{Token: "T", LastUpdateMicros: stamp.UnixMicro(), ExpirationMicros: end.UnixMicro()}
			}
			login := func() {
				start, stamp, end = device, device, device.Add(life)
				fresh, err := state().begin(local)
				if err != nil {
					t.Fatal(err)
				}
				held = fresh
				logins++
			}
			if held.text == "" || !local.Before(held.end) {
				login()
			}
			if !device.Before(end) {
				t.Fatalf("%+v: a token was used %s after its end, at %s", m, device.Sub(end), local.Sub(epoch))
			}
			if m.refuses || local.Before(held.renew) {
				continue
			}
			seconds, ok := held.extension(local)
			wanted := device.Add(time.Duration(seconds) * time.Second)
			if m.fromLogin {
				wanted = start.Add(time.Duration(seconds) * time.Second)
			}
			if !ok || wanted.Sub(start) > absolute {
				login()
				continue
			}
			end = wanted
			if m.stamped {
				stamp = device
			}
			fresh, err := held.extended(state(), local)
			if err != nil {
				t.Fatalf("%+v: renewed at %s: %v", m, local.Sub(epoch), err)
			}
			held = fresh
			renewals++
		}
		// Ten hours each would be 8.
		if !m.refuses && (logins < 8 || logins > 20 || renewals < logins) {
			t.Errorf("%+v: %d logins, %d renewals in three days", m, logins, renewals)
		}
		if most := int(72 * time.Hour / (18 * time.Minute)); m.refuses && (logins > most || renewals != 0) {
			t.Errorf("%+v: %d logins, %d renewals in three days", m, logins, renewals)
		}
	}
}

func TestTokenNotExtended(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) int64 { return now.Add(d).UnixMicro() }
	held, err := tokenState{Token: "T", LastUpdateMicros: at(0), ExpirationMicros: at(20 * time.Minute)}.begin(now)
	if err != nil {
		t.Fatal(err)
	}
	later := now.Add(10 * time.Minute)
	for name, answer := range map[string]tokenState{
		"no times":  {},
		"unchanged": {LastUpdateMicros: at(0), ExpirationMicros: at(20 * time.Minute)},
		"shorter":   {LastUpdateMicros: at(10 * time.Minute), ExpirationMicros: at(15 * time.Minute)},
	} {
		if got, err := held.extended(answer, later); err == nil {
			t.Errorf("%s: until %s", name, got.end)
		}
	}
	if _, ok := held.extension(now.Add(10 * time.Hour)); ok {
		t.Error("a token of ten hours is to be extended")
	}
}
