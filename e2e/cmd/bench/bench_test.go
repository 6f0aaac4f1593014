package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

func TestMain(m *testing.M) {
	lab.RunRole()
	os.Exit(m.Run())
}

func TestLateness(t *testing.T) {
	start := time.Unix(1700000000, 0)
	at := func(ms int, last byte) first {
		return first{start.Add(time.Duration(ms) * time.Millisecond), [4]byte{127, 1, 0, last}}
	}
	late := lateness([]first{at(0, 1), at(500, 2), at(1000, 1), at(1530, 2), at(1990, 1), at(2580, 2)}, time.Second)
	want := []time.Duration{0, 0, 30 * time.Millisecond, 50 * time.Millisecond}
	if !slices.Equal(late, want) {
		t.Errorf("late by %v, want %v", late, want)
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 30 * time.Millisecond, 0.99: 50 * time.Millisecond, 1: 50 * time.Millisecond} {
		if got := quantile(late, q); got != want {
			t.Errorf("quantile %.2f is %s, want %s", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("of nothing, something is late")
	}
	if got := merge([]time.Duration{1, 3}, []time.Duration{2, 4}); !slices.Equal(got, []time.Duration{1, 2, 3, 4}) {
		t.Errorf("merged to %v", got)
	}
}

func TestCases(t *testing.T) {
	for _, o := range []options{{sizes: "0", kinds: "tcp"}, {sizes: "70000", kinds: "tcp"}, {sizes: "x", kinds: "tcp"}, {sizes: "1", kinds: "ftp"}, {}} {
		if c, err := o.cases(); err == nil {
			t.Errorf("%+v gave %v", o, c)
		}
	}
	o := options{sizes: "100,5000", kinds: "tcp,http", perService: 100, interval: 1}
	c, err := o.cases()
	if err != nil || len(c) != 4 || c[3].kind != "http" || c[3].reals != 5000 {
		t.Fatalf("got %v, %v", c, err)
	}
	config := c[3].config()
	if strings.Count(config, "HTTP_GET") != 5000 || strings.Count(config, "virtual_server ") != 50 || strings.Count(config, "{") != strings.Count(config, "}") {
		t.Errorf("the configuration is not what was asked for:\n%.500s", config)
	}
}

// TestQuick runs poised with a few checks of both kinds, and finds them all made.
func TestQuick(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it makes network namespaces: run it as root")
	}
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Fatalf("%v: run make deps", err)
	}
	var out bytes.Buffer
	bench(t, options{
		sizes: "40", kinds: "tcp,http", perService: 20, interval: 1, turns: 1, warm: 6 * time.Second, measure: 4 * time.Second, only: string(lab.Poised),
	}, &out)
	t.Logf("\n%s", out.String())
	for _, kind := range []string{"tcp", "http"} {
		found := false
		for line := range strings.Lines(out.String()) {
			f := strings.Fields(line)
			// A busy machine may begin a few less or more in the time.
			if len(f) > 7 && f[1] == kind && f[3] == "40" && f[5] == "poised" {
				found = len(f[7]) == 2 && f[7] >= "30" && f[7] <= "50"
			}
		}
		if !found {
			t.Errorf("no line of %s with about 40 checks a second", kind)
		}
	}
}
