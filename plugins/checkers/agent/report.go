package agent

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/sdk"
)

// mostPercent is HAProxy's: larger values count as this.
const mostPercent = 25600

// report is what one line says.
type report struct {
	// health is Unknown when it is not mentioned; word is how it was said, and why.
	health      sdk.Outcome
	word        string
	description string
	// admin and weight are nil when they are not mentioned.
	admin  *sdk.Admin
	weight *int64
	// maxConn is what followed "maxconn:".
	maxConn string
	// unknown are words that are none of an agent's.
	unknown []string
}

// nothing says that nothing was said, of words that are known.
func (r report) nothing() bool {
	return r.health == sdk.Unknown && r.admin == nil && r.weight == nil && r.maxConn == ""
}

var healths = map[string]sdk.Outcome{
	"up": sdk.Up, "down": sdk.Down, "stopped": sdk.Down, "fail": sdk.Down, "failed": sdk.Down,
}

var admins = map[string]sdk.Admin{"ready": sdk.Ready, "drain": sdk.Drain, "maint": sdk.Maintenance}

// parse reads a line: words between blanks, tabs and commas, upper or lower case, in any
// order; of one kind the last counts. A word that begins with # begins a description.
func parse(line string) report {
	var r report
	rest := line
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return r
		}
		if rest[0] == '#' {
			r.description = strings.Trim(rest[1:], " \t")
			return r
		}
		end := strings.IndexAny(rest, " \t,")
		if end < 0 {
			end = len(rest)
		}
		r.add(rest[:end])
		rest = rest[end:]
	}
}

func (r *report) add(word string) {
	lower := strings.ToLower(word)
	if health, ok := healths[lower]; ok {
		r.health, r.word = health, lower
		return
	}
	if admin, ok := admins[lower]; ok {
		r.admin = &admin
		return
	}
	if n, ok := strings.CutPrefix(lower, "maxconn:"); ok {
		r.maxConn = n
		return
	}
	if percent, ok := percentage(lower); ok {
		r.weight = &percent
		return
	}
	r.unknown = append(r.unknown, word)
}

// percentage reads "75%".
func percentage(word string) (int64, bool) {
	digits, ok := strings.CutSuffix(word, "%")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > mostPercent {
		// Digits alone fail only by being too many.
		n = mostPercent
	}
	return n, true
}

// state is what an agent has said so far.
type state struct {
	health sdk.Outcome
	reason string
	admin  sdk.Admin
	weight sdk.Weight
}

// begin is the state before an agent's first word: what it said to an earlier process. See
// the package's comment for what is not believed.
func begin(k sdk.Known) state {
	if k.Inferred {
		return state{}
	}
	s := state{health: k.Outcome, admin: k.Admin, weight: k.Weight}
	if k.Outcome == sdk.Down {
		s.reason = "the agent said down before, and has not said up since"
	}
	return s
}

// take adds a report.
func (s *state) take(r report) {
	if r.health != sdk.Unknown {
		s.health, s.reason = r.health, ""
		if r.health == sdk.Down {
			s.reason = "the agent says " + r.word
			if r.description != "" {
				s.reason += ": " + shortened(r.description)
			}
		}
	}
	if r.admin != nil {
		s.admin = *r.admin
	}
	if r.weight != nil {
		s.weight = sdk.Weight{Mode: sdk.ScaleWeight, Value: *r.weight}
	}
}

// result is up until an agent says down.
func (s state) result() sdk.Result {
	r := sdk.Result{Outcome: sdk.Up, Weight: s.weight, Admin: s.admin}
	if s.health == sdk.Down {
		r.Outcome, r.Reason = sdk.Down, s.reason
	}
	return r
}

// String is for a transcript.
func (s state) String() string {
	health, admin := "up", map[sdk.Admin]string{sdk.Ready: "ready", sdk.Drain: "drain", sdk.Maintenance: "maint"}[s.admin]
	if s.health == sdk.Down {
		health = "down"
	}
	weight := "weight as configured"
	if s.weight.Mode == sdk.ScaleWeight {
		weight = fmt.Sprintf("weight %d%%", s.weight.Value)
	}
	return health + ", " + admin + ", " + weight
}

// quoted bounds what is shown of what an agent sent.
const quoted = 200

func shown(line string) string {
	if len(line) > quoted {
		return fmt.Sprintf("%q and %d bytes more", line[:quoted], len(line)-quoted)
	}
	return fmt.Sprintf("%q", line)
}

// shortened makes a description fit for a reason.
func shortened(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > quoted {
		return strings.ToValidUTF8(s[:quoted], "") + "..."
	}
	return s
}
