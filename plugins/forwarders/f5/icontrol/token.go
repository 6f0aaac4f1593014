package icontrol

import (
	"errors"
	"math"
	"strings"
	"time"
)

// maxTokenLife is how old a device lets a token become.
const maxTokenLife = 36000 * time.Second

// token is one with its times, all of them local. Those of the device are only used against
// each other: its clock may be off.
type token struct {
	text string
	// born is when the login was sent; granted is the life it was given.
	born    time.Time
	granted time.Duration
	// counted is the local time for the device's stamp.
	counted time.Time
	stamp   int64
	// renew and end: from then on it should get more time, and may not be used.
	renew, end time.Time
}

// tokenState is a token as a device describes it.
type tokenState struct {
	Token            string `json:"token"`
	LastUpdateMicros int64  `json:"lastUpdateMicros"`
	ExpirationMicros int64  `json:"expirationMicros"`
}

func (t tokenState) life() (time.Duration, error) {
	micros := t.ExpirationMicros - t.LastUpdateMicros
	if t.LastUpdateMicros <= 0 || micros <= 0 || micros > math.MaxInt64/int64(time.Microsecond) {
		return 0, errors.New("the answer does not say how long the token lives")
	}
	return min(time.Duration(micros)*time.Microsecond, maxTokenLife), nil
}

// begin makes a token of the answer to a login.
func (t tokenState) begin(sent time.Time) (token, error) {
	if !usable(t.Token) {
		return token{}, errors.New("the answer has no token, or one that cannot be used")
	}
	life, err := t.life()
	if err != nil {
		return token{}, err
	}
	fresh := token{text: t.Token, born: sent, granted: life, counted: sent, stamp: t.LastUpdateMicros}
	return fresh.until(sent, life), nil
}

// usable: it can stand in a header, a path and a file.
func usable(text string) bool {
	const signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
	return len(text) <= 512 && strings.Trim(text, signs) == "" && strings.Trim(text, ".") != ""
}

// until sets the times of a token that lives from a time on. The margin is for requests on
// their way and clocks that do not run alike.
func (t token) until(from time.Time, life time.Duration) token {
	t.end = from.Add(life - min(life/10, time.Minute))
	t.renew = from.Add(life / 2)
	return t
}

// extension is the timeout, in seconds, to ask for at a time: as much again as was granted.
// A device may count it from the login or from now; the longer one serves both.
func (t token) extension(now time.Time) (int64, bool) {
	want := now.Sub(t.born) + t.granted
	return int64(math.Ceil(want.Seconds())), want < maxTokenLife
}

// extended is the token after an answer to that.
func (t token) extended(answer tokenState, sent time.Time) (token, error) {
	life, err := answer.life()
	if err != nil {
		return token{}, err
	}
	// A stamp that has not changed is as old as it was.
	if answer.LastUpdateMicros != t.stamp {
		t.counted, t.stamp = sent, answer.LastUpdateMicros
	}
	old := t.end
	if t = t.until(t.counted, life); !t.end.After(old) {
		return token{}, errors.New("it was not given more time")
	}
	t.renew = t.end.Add(-t.end.Sub(sent) / 2)
	return t, nil
}
