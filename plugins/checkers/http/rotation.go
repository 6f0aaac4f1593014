package http

import "github.com/poise-lb/poise/sdk"

// rotation says which of a check's urls is due, in keepalived 2.2.7's order, found by
// running it:
//
//   - one url each time, in turn; one that fails is asked for until it passes;
//   - the failure that takes the check down makes its url the one to pass first; once it
//     has, all urls have to pass, from the first one on, before the check is up. With one
//     url these are two successes;
//   - a failure in that round starts nothing anew: the round goes on at that url;
//   - at start there is such a round too, without a url to pass first.
type rotation struct {
	urls int
	// next is the url that is due.
	next int
	// stuck: next has to pass before a round from the first url on.
	stuck bool
	// failed: the last probe that was made has failed. known is what the check said
	// before it.
	failed bool
	known  sdk.Outcome
}

// begin gives the url that is due, where the check says known.
func (r *rotation) begin(known sdk.Outcome) int {
	if known == sdk.Down && r.failed && r.known != sdk.Down {
		r.stuck = true
	}
	r.known = known
	return r.next
}

// end takes what was found of that url. partial: there is more to pass before the check
// may be up.
func (r *rotation) end(found sdk.Outcome) (partial bool) {
	switch found {
	case sdk.Down:
		r.failed = true
		return false
	case sdk.Up:
	default:
		return false
	}
	r.failed = false
	if r.stuck {
		r.stuck, r.next = false, 0
		return true
	}
	r.next++
	if r.next < r.urls {
		return true
	}
	r.next = 0
	return false
}
