package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

func TestRenderStatus(t *testing.T) {
	golden(t, "status.txt", renderStatus(exampleStatus(), now, false))
	golden(t, "status-verbose.txt", renderStatus(exampleStatus(), now, true))
	s := exampleStatus()
	s.Daemon.ReloadErrors = nil
	s.FailoverGroups, s.VirtualServers, s.ForeignServices, s.Appliances, s.Plugins = nil, nil, nil, nil, nil
	s.Forwarder = &controlv1.Forwarder{Type: "null", AppliedGeneration: 1, DesiredGeneration: 3}
	golden(t, "status-behind.txt", renderStatus(s, now, false))
	s.Forwarder = nil
	golden(t, "status-empty.txt", renderStatus(s, now, false))
}

func TestRenderPlugins(t *testing.T) {
	golden(t, "plugins.txt", renderPlugins(exampleStatus().GetPlugins(), now))
	golden(t, "plugins-none.txt", renderPlugins(nil, now))
}

// An answer with nothing in it, as from another version, is no reason to fail.
func TestRenderNothing(t *testing.T) {
	if got := renderStatus(&controlv1.StatusResponse{}, now, true); !strings.HasPrefix(got, "director ") {
		t.Errorf("%q", got)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", 60 * time.Second: "1m0s", 192 * time.Second: "3m12s",
		time.Hour: "1h0m", 24*time.Hour - 1: "23h59m", 24 * time.Hour: "1d0h", 1000 * time.Hour: "41d16h",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%s) = %s, want %s", d, got, want)
		}
	}
}

// Columns stay columns whatever stands in them, and nothing steers the terminal.
func TestTableIsAligned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOfN(rapid.String(), 3, 3), 1, 5).Draw(t, "rows")
		tab := &table{}
		for _, r := range rows {
			tab.add(append([]string{}, r...)...)
		}
		second := -1
		for n, line := range tab.lines("") {
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("control character in %q", line)
			}
			head := tab.rows[n][0]
			if !strings.HasPrefix(line, strings.TrimRight(head, " ")) {
				t.Fatalf("line %q does not begin with %q", line, head)
			}
			rest := []rune(line)[min(utf8.RuneCountInString(head), utf8.RuneCountInString(line)):]
			if strings.HasPrefix(tab.rows[n][1], " ") {
				continue
			}
			at := utf8.RuneCountInString(head) + len(rest) - len([]rune(strings.TrimLeft(string(rest), " ")))
			if second >= 0 && at != second {
				t.Fatalf("second column at %d and at %d:\n%s", second, at, strings.Join(tab.lines(""), "\n"))
			}
			second = at
		}
	})
}
