package sdk

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

var letters = map[byte]Result{'p': {Outcome: Up, Partial: true}, 'u': {Outcome: Up}, 'd': {Outcome: Down}, '?': {Outcome: Unknown}}

// TestFold writes results as letters and what is told in capitals; r is a retry and .
// is nothing.
func TestFold(t *testing.T) {
	tests := []struct {
		name    string
		known   checkv1.VerdictState
		retries uint32
		results string
		want    string
	}{
		{"first failure decides without retries", stateNone, 3, "d", "D"},
		{"first success is told once", stateNone, 3, "uuu", "U.."},
		{"retries apply after a success", stateNone, 2, "uddd", "UrrD"},
		{"a success between starts the count again", stateUp, 2, "ddudddd", "rrUrrD."},
		{"no retries", stateUp, 0, "dudu", "DUDU"},
		{"a known up is confirmed", stateUp, 1, "uu", "U."},
		{"a known up has its retries", stateUp, 1, "dd", "rD"},
		{"a known down is confirmed at once", stateDown, 3, "dd", "D."},
		{"one success is up", stateDown, 3, "u", "U"},
		{"down goes on without retries", stateUp, 1, "dddd", "rD.."},
		{"not made: kept, then unknown", stateUp, 2, "u????", "Urr?."},
		{"not made does not count as failure", stateUp, 1, "ud?d", "Urr" + "D"},
		{"not made with no verdict", stateNone, 1, "??d", "r?D"},
		{"back from unknown to up", stateUp, 0, "u?uu", "U?U."},
		{"back from unknown to down at once", stateDown, 2, "d???d", "Drr?D"},
		{"from up through unknown the retries apply", stateUp, 1, "u??dd", "Ur?rD"},
		{"partial is not up", stateNone, 0, "ppu", "..U"},
		{"partial keeps up", stateUp, 0, "upp", "U.."},
		{"partial leaves down", stateDown, 0, "dppu", "D..U"},
		{"partial ends a row of failures", stateUp, 1, "udpdd", "Ur.rD"},
		{"after a partial success the first failure decides", stateNone, 1, "pdd", ".D."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := fold{verdict: test.known}
			var got strings.Builder
			for i := range len(test.results) {
				tell, retry := f.step(letters[test.results[i]], test.retries)
				switch {
				case retry && tell != stateNone:
					t.Fatalf("result %d is told and retried", i)
				case retry:
					got.WriteByte('r')
				default:
					got.WriteByte(map[checkv1.VerdictState]byte{stateNone: '.', stateUp: 'U', stateDown: 'D', stateUnknown: '?'}[tell])
				}
			}
			if got.String() != test.want {
				t.Errorf("%s gave %s, want %s", test.results, got.String(), test.want)
			}
		})
	}
}

func TestFoldWeight(t *testing.T) {
	var f fold
	for i, test := range []struct {
		weight int64
		tell   checkv1.VerdictState
	}{{0, stateUp}, {0, stateNone}, {-5, stateUp}, {-5, stateNone}, {0, stateUp}} {
		if tell, _ := f.step(Result{Outcome: Up, Weight: Weight{Value: test.weight}}, 1); tell != test.tell {
			t.Errorf("success %d with weight %d told %s, want %s", i, test.weight, tell, test.tell)
		}
	}
}

// TestFoldProperty says what the verdict has to be after any history, by looking at
// the history rather than by counting.
func TestFoldProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		retries := rapid.Uint32Range(0, 4).Draw(t, "retries")
		known := rapid.SampledFrom([]checkv1.VerdictState{stateNone, stateUp, stateDown}).Draw(t, "known")
		history := rapid.StringOfN(rapid.RuneFrom([]rune("ud?")), 1, 60, -1).Draw(t, "history")
		f := fold{verdict: known}
		told := stateNone
		for i := range len(history) {
			before := f.verdict
			tell, _ := f.step(letters[history[i]], retries)
			if tell != stateNone {
				if tell == told {
					t.Fatalf("after %s: %s was told twice", history[:i+1], tell)
				}
				told = tell
			}
			sofar := history[:i+1]
			definite := strings.ReplaceAll(sofar, "?", "")
			full := strings.HasSuffix(definite, strings.Repeat("d", int(retries)+1))
			switch history[i] {
			case 'u':
				if told != stateUp {
					t.Fatalf("after %s: %s, want up", sofar, told)
				}
			case 'd':
				want := before
				if full || before == stateNone {
					want = stateDown
				}
				if f.verdict != want || want == stateDown && told != stateDown {
					t.Fatalf("after %s (known %s, %d retries): %s, told %s, want %s", sofar, known, retries, f.verdict, told, want)
				}
			case '?':
				if f.verdict != before {
					t.Fatalf("after %s: a probe that was not made changed %s to %s", sofar, before, f.verdict)
				}
				row := strings.HasSuffix(sofar, strings.Repeat("?", int(retries)+1))
				if row && told != stateUnknown || !row && tell != stateNone {
					t.Fatalf("after %s with %d retries: told %s", sofar, retries, told)
				}
			}
		}
	})
}
