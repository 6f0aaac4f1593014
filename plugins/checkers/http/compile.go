package http

import (
	"crypto/md5" //nolint:gosec // what keepalived's digests are
	"encoding/hex"
	"net/netip"
	"strconv"

	"github.com/poise-lb/poise/sdk"
)

// Check carries out the probes of one check, one at a time.
type Check struct {
	urls        []url
	virtualHost string
	protocol    string
	method      string
	headers     map[string]string
	raw         bool
	fast        bool
	rotation    rotation
	reply       reply
}

// url is a URL, ready to be used.
type url struct {
	path      string
	host      string
	status    *statuses
	digest    *[md5.Size]byte
	match     *matcher
	noMatch   bool
	compliant bool
	// request is what was sent last, to the target.
	request []byte
	// shown is that without the values of headers that are configured: they may be secret.
	shown  string
	target netip.AddrPort
}

// Compile makes a Check of parameters, or says what is wrong with them.
func (p Parameters) Compile() (*Check, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	list := p.URLs
	if len(list) == 0 {
		list = []URL{{Path: "/"}}
	}
	c := &Check{
		urls: make([]url, len(list)), virtualHost: p.VirtualHost, protocol: p.Protocol, method: p.Method,
		headers: p.Headers, raw: p.RawBody || p.Protocol == Version10 || p.Protocol == Version10Close,
		fast: p.FastRecovery, rotation: rotation{urls: len(list)},
	}
	for i := range list {
		if err := c.urls[i].compile(&list[i], p.TLSCompliant, "/urls/"+strconv.Itoa(i)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (u *url) compile(from *URL, compliant bool, path string) error {
	var err error
	*u = url{path: from.Path, host: from.VirtualHost, noMatch: from.RegexNoMatch, compliant: compliant}
	if from.TLSCompliant != nil {
		u.compliant = *from.TLSCompliant
	}
	if u.status, err = parseStatuses(path+"/status", from.Status); err != nil {
		return err
	}
	if from.Digest != "" {
		u.digest = new([md5.Size]byte)
		if _, err := hex.Decode(u.digest[:], []byte(from.Digest)); err != nil {
			return sdk.Errorf(path+"/digest", "%s", err)
		}
	}
	if from.Regex != "" {
		u.match, err = newMatcher(from, path)
	}
	return err
}
