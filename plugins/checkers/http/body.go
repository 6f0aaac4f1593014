package http

import (
	"crypto/md5" //nolint:gosec // what keepalived's digests are
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"time"
)

// body judges a body as it comes.
type body struct {
	size   int64
	wanted *url
	// counts is how much of the body the digest is of; -1: all.
	counts int64
	digest hash.Hash
	match  *matcher
	sum    [md5.Size]byte
}

// begin prepares for the body of a response to a request for a url.
func (b *body) begin(u *url, deadline time.Time) {
	b.size, b.wanted, b.counts = 0, u, -1
	if u.digest != nil {
		if b.digest == nil {
			b.digest = md5.New() //nolint:gosec // see above
		}
		b.digest.Reset()
	}
	b.match = u.match
	if b.match != nil {
		b.match.begin(deadline)
	}
}

// write takes a part of it.
func (b *body) write(p []byte) error {
	b.size += int64(len(p))
	if b.wanted.digest != nil {
		counted := p
		if b.counts >= 0 {
			counted = p[:min(int64(len(p)), b.counts)]
			b.counts -= int64(len(counted))
		}
		_, _ = b.digest.Write(counted)
	}
	if b.match != nil {
		return b.match.write(p)
	}
	return nil
}

// end says what is wrong with the body that is whole now; nil: nothing.
func (b *body) end() error {
	if want := b.wanted.digest; want != nil {
		if got := b.digest.Sum(b.sum[:0]); [md5.Size]byte(got) != *want {
			return fmt.Errorf("digest %s, not %s", hex.EncodeToString(got), hex.EncodeToString(want[:]))
		}
	}
	if b.match == nil {
		return nil
	}
	found, err := b.match.end()
	switch {
	case err != nil:
		return err
	case found && b.wanted.noMatch:
		return errors.New("the regex matches")
	case !found && !b.wanted.noMatch:
		return errors.New("the regex does not match")
	}
	return nil
}
