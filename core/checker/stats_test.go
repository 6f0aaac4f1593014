package checker

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/poise-lb/poise/core/model"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

func TestStaleSince(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	// One probe a second that may take one, and what a process may be silent: 5 s.
	check := &model.Check{Schedule: model.Schedule{Interval: time.Second, Timeout: time.Second}}
	for _, c := range []struct {
		name  string
		stats Stats
		now   int
		// want is -1 for fresh.
		want int
	}{
		{"just wanted", Stats{Since: began}, 5, -1},
		{"never heard", Stats{Since: began}, 6, 0},
		{"heard", Stats{Since: began, HeardAt: at(100), ProbedAt: at(100), SessionAt: at(1)}, 105, -1},
		{"silent", Stats{Since: began, HeardAt: at(100), ProbedAt: at(99), SessionAt: at(1)}, 106, 100},
		{"its probes hang", Stats{Since: began, HeardAt: at(106), ProbedAt: at(100), SessionAt: at(1), HangingSince: at(100)}, 106, 100},
		{"started again, too soon to have probed", Stats{Since: began, HeardAt: at(102), ProbedAt: at(100), SessionAt: at(102)}, 103, -1},
		{"started again and again", Stats{Since: began, HeardAt: at(106), ProbedAt: at(100), SessionAt: at(106)}, 106, 100},
		{"results come by themselves", Stats{Since: began, HeardAt: at(106), SessionAt: at(1)}, 106, -1},
	} {
		want := time.Time{}
		if c.want >= 0 {
			want = at(c.want)
		}
		if got := c.stats.StaleSince(check, at(c.now)); !got.Equal(want) {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

func TestTrouble(t *testing.T) {
	now := time.Now()
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	for _, c := range []struct {
		stats Stats
		want  string
	}{
		{Stats{Since: ago(99)}, ""},
		{Stats{Checks: 1, Since: ago(1)}, ""},
		{Stats{Checks: 1, Since: ago(99)}, "silent for 1m39s"},
		{Stats{Checks: 1, Since: ago(99), HeardAt: ago(2)}, ""},
		{Stats{Checks: 1, Since: ago(99), HeardAt: ago(12)}, "silent for 12s"},
		{Stats{Checks: 1, Since: ago(99), HeardAt: ago(1), HangingSince: ago(7)}, "its probes hang: none has ended for 7s"},
		{Stats{Since: ago(99), HeardAt: ago(1), Rejected: map[model.CheckID]string{"a": ""}}, "1 check cannot be carried out"},
		{Stats{Checks: 1, Since: ago(99), HeardAt: ago(1), Rejected: map[model.CheckID]string{"a": "", "b": ""}}, "2 checks cannot be carried out"},
	} {
		if got := c.stats.Trouble(now); got != c.want {
			t.Errorf("%+v: %q, want %q", c.stats, got, c.want)
		}
	}
}

// Probes hang when some are left out and, in the time that any may take, none ends.
func TestHangingSince(t *testing.T) {
	began := time.Now()
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	c := New(hclog.NewNullLogger(), nil, nil, nil)
	c.longest = 3 * time.Second
	beat := func(probes, overdue uint64, s int) {
		c.takeBeat(&checkv1.Beat{Probes: probes, Overdue: overdue}, at(s))
	}
	beat(1, 0, 1)
	beat(2, 0, 2)
	beat(2, 1, 3) // left out for the first time
	if got := c.hangingSince(at(6)); !got.IsZero() {
		t.Errorf("hanging since %s although a probe may take as long", got)
	}
	beat(2, 2, 6)
	if got := c.hangingSince(at(7)); !got.Equal(at(2)) {
		t.Errorf("hanging since %s, want %s", got, at(2))
	}
	beat(3, 3, 8)
	if got := c.hangingSince(at(99)); !got.IsZero() {
		t.Errorf("hanging since %s although one has ended", got)
	}
}
