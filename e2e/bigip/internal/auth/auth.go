// Package auth is who may talk to a simulated BIG-IP: users, and the table of their
// tokens, with the limits and the words of the device. Time is an input.
package auth

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"slices"
	"time"
)

const (
	// Life is how long a token is good unless someone changes it.
	Life = 1200 * time.Second
	// Longest is how long a token can be good since it was made.
	Longest = 36000 * time.Second
	// PerUser is how many tokens a user has at once. The user "admin" has as many as it
	// likes.
	PerUser = 100
	admin   = "admin"
)

// Error is a refusal with its HTTP status.
type Error struct {
	HTTP    int
	Message string
}

func (e *Error) Error() string { return e.Message }

// Token is one login.
type Token struct {
	ID, User       string
	Start, Updated time.Time
	Timeout        time.Duration
	Expires        time.Time
}

// Table is users and tokens.
type Table struct {
	users  map[string]string
	tokens map[string]*Token
}

// New is a table for users with their passwords.
func New(users map[string]string) *Table {
	return &Table{users: users, tokens: map[string]*Token{}}
}

// Check tells whether a password is that of a user.
func (t *Table) Check(user, password string) bool {
	want, ok := t.users[user]
	return subtle.ConstantTimeCompare([]byte(want), []byte(password)) == 1 && ok
}

// Login makes a token.
func (t *Table) Login(user, password string, now time.Time) (*Token, error) {
	if !t.Check(user, password) {
		return nil, &Error{401, "Authentication failed."}
	}
	live := 0
	for _, o := range t.tokens {
		if o.User == user && now.Before(o.Expires) {
			live++
		}
	}
	if live >= PerUser && user != admin {
		return nil, &Error{400, fmt.Sprintf("user %s has reached maximum active login tokens", userID(user))}
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	o := &Token{
		ID:   base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:]),
		User: user, Start: now, Updated: now, Timeout: Life, Expires: now.Add(Life),
	}
	t.tokens[o.ID] = o
	return o, nil
}

// Use finds the user of a token.
func (t *Table) Use(id string, now time.Time) (string, error) {
	o := t.tokens[id]
	switch {
	case o == nil:
		return "", &Error{401, "X-F5-Auth-Token does not exist."}
	case !now.Before(o.Expires):
		return "", &Error{401, "X-F5-Auth-Token has expired."}
	}
	return o.User, nil
}

// Get is a token for its own user, or for admin.
func (t *Table) Get(id, user string, now time.Time) (*Token, error) {
	o := t.tokens[id]
	switch {
	case o == nil || !now.Before(o.Expires):
		return nil, &Error{404, fmt.Sprintf("Object not found: /shared/authz/tokens/%s", id)}
	case o.User != user && user != admin:
		return nil, &Error{400, "Authorization failed"}
	}
	return o, nil
}

// Extend gives a token another life, from now on, but not beyond what is the longest since
// it was made.
func (t *Table) Extend(id, user string, timeout time.Duration, now time.Time) (*Token, error) {
	o, err := t.Get(id, user, now)
	if err != nil {
		return nil, err
	}
	if timeout > Longest {
		return nil, &Error{406, fmt.Sprintf("Auth-token absolute timeout (%d seconds) exceeded", int(Longest.Seconds()))}
	}
	o.Timeout, o.Updated, o.Expires = timeout, now, now.Add(timeout)
	if end := o.Start.Add(Longest); o.Expires.After(end) {
		o.Expires = end
	}
	return o, nil
}

// Revoke ends a token.
func (t *Table) Revoke(id, user string, now time.Time) (*Token, error) {
	o, err := t.Get(id, user, now)
	if err == nil {
		delete(t.tokens, id)
	}
	return o, err
}

// List is the live tokens that a user may see, oldest first.
func (t *Table) List(user string, now time.Time) []*Token {
	var out []*Token
	for _, o := range t.tokens {
		if now.Before(o.Expires) && (o.User == user || user == admin) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *Token) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Forget drops all tokens, as a restart does: they do not exist any more.
func (t *Table) Forget() { t.tokens = map[string]*Token{} }

// userID is the number that the device has for a user in its messages.
func userID(user string) string {
	h := sha256.Sum256([]byte(user))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
