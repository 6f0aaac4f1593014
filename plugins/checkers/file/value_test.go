package file

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/poise-lb/poise/sdk"
)

// TestParseValue: each is what keepalived 2.2.7 has been seen to make of it.
func TestParseValue(t *testing.T) {
	for text, want := range map[string]int64{
		"5": 5, "7\n": 7, " 8": 8, "+9": 9, "-10": -10, "11abc": 11, "abc": 0, "": 0, "0x10": 16, "010": 8,
		"13 14": 13, "\n15": 15, "16\n17": 16, " -18 ": -18, "19\r\n": 19, "20.5": 20, "\v\f18": 18,
		"--3": 0, "+-3": 0, "- 3": 0, "0x": 0, "08": 0, "1_9": 1, "1e3": 1, "20,5": 20, "0XfFg": 255, "\x0015": 0,
		"9223372036854775807": math.MaxInt64, "9223372036854775808": math.MaxInt64, "99999999999999999999": math.MaxInt64,
		"-9223372036854775808": math.MinInt64, "-99999999999999999999": math.MinInt64,
		strings.Repeat("0", 76) + "30": 24, "0b1": 0, "-0x80000000": math.MinInt32,
	} {
		if got := parseValue(text); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}

// TestParseValueRoundTrip: what is written in any base is read.
func TestParseValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.Int64().Draw(t, "value")
		format := rapid.SampledFrom([]string{"%d", "%+d", " %d", "%#x", "%#X", "%#o", "%d rest", "%d\n"}).Draw(t, "format")
		if text := fmt.Sprintf(format, want); parseValue(text) != want {
			t.Errorf("%q: got %d, want %d", text, parseValue(text), want)
		}
	})
}

func FuzzParseValue(f *testing.F) {
	for _, text := range []string{"", "1", "-0x8", "0x", "999999999999999999999", "-", " +0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := parseValue(text)
		if again := parseValue(fmt.Sprint(v)); again != v {
			t.Errorf("%q is %d, and that is %d", text, v, again)
		}
	})
}

func TestJudge(t *testing.T) {
	up := func(add int64) sdk.Result { return sdk.Result{Outcome: sdk.Up, Weight: sdk.Weight{Value: add}} }
	down := func(reason string) sdk.Result { return sdk.Result{Outcome: sdk.Down, Reason: "/f holds " + reason} }
	ignored := func(v string) sdk.Result {
		return sdk.Result{Reason: "/f holds " + v + ", which is not between -2147483648 and 2147483648: it is ignored"}
	}
	tests := []struct {
		weight  int64
		reverse bool
		value   int64
		want    sdk.Result
	}{
		{1, false, 0, up(0)},
		{1, false, 5, up(5)},
		{1, false, -10, up(-10)},
		{1, true, 5, up(-5)},
		{3, false, 4, up(12)},
		{3, true, 4, up(-12)},
		{-3, true, 4, up(12)},
		{1, false, math.MaxInt32, up(math.MaxInt32)},
		{1, false, math.MaxInt32 + 1, up(math.MaxInt32)},
		{math.MaxInt32, false, math.MaxInt32, up(math.MaxInt32)},
		{1, false, math.MinInt32 + 1, up(math.MinInt32 + 1)},
		{1, false, math.MinInt32, down("-2147483648, with weight 1 that is -2147483648")},
		{1, true, math.MinInt32, up(math.MaxInt32)},
		{math.MaxInt32, false, -10, down("-10, with weight 2147483647 that is -21474836470")},
		{math.MaxInt32, true, math.MaxInt32 + 1, down("2147483648, with weight -2147483647 that is -4611686016279904256")},
		{1, false, math.MaxInt32 + 2, ignored("2147483649")},
		{1, false, math.MinInt32 - 1, ignored("-2147483649")},
		{0, false, math.MaxInt64, ignored("9223372036854775807")},
		{0, false, 0, up(0)},
		{0, false, 5, down("5")},
		{0, false, -5, down("-5")},
		{0, true, 0, down("0")},
		{0, true, 5, up(0)},
	}
	for _, test := range tests {
		p := parameters{Path: "/f", Weight: test.weight, Reverse: test.reverse}
		if diff := cmp.Diff(test.want, p.judge(test.value)); diff != "" {
			t.Errorf("weight %d, reverse %t, value %d (-want +got):\n%s", test.weight, test.reverse, test.value, diff)
		}
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		value      int64
		there      bool
		failed     string
	}{
		{"number", put("number", "17\n"), 17, true, ""},
		{"empty", put("empty", ""), 0, true, ""},
		{"long", put("long", "5"+strings.Repeat(" ", 1<<20)), 5, true, ""},
		{"late", put("late", strings.Repeat(" ", 200)+"5"), 0, true, ""},
		{"missing", filepath.Join(dir, "missing"), 0, false, ""},
		{"no directory", filepath.Join(dir, "no/such"), 0, false, ""},
		{"file as directory", filepath.Join(dir, "number/x"), 0, false, ""},
		{"directory", dir, 0, true, "is not a file"},
		{"pipe", pipe, 0, true, "is not a file"},
		{"loop", loop, 0, true, "too many levels of symbolic links"},
	}
	for _, test := range tests {
		value, there, err := read(test.path)
		if value != test.value || there != test.there || (err != nil) != (test.failed != "") || err != nil && !strings.Contains(err.Error(), test.failed) {
			t.Errorf("%s: got %d %t %v, want %d %t %s", test.name, value, there, err, test.value, test.there, test.failed)
		}
	}
}
