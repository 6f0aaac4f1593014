package dns

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

// Type is the checker's name in configurations.
const Type = "dns"

// types that can be asked for: those that keepalived knows, then others.
var types = []string{
	"A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY",
	"PTR", "SRV", "DS", "CAA", "NAPTR", "SVCB", "HTTPS", "TLSA",
}

const (
	// longest is the longest answer without EDNS (RFC 1035, section 4.2.1).
	longest = 512
	// traced bounds what a transcript shows of answers and of datagrams passed over.
	traced = 10
)

type checker struct{}

// New makes the checker.
func New() sdk.Checker { return checker{} }

type parameters struct {
	Type string `json:"type" doc:"type of the records to ask for"`
	Name string `json:"name" doc:"name to ask for"`
}

func defaults() parameters { return parameters{Type: "SOA", Name: "."} }

// Parse makes the query.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	p := defaults()
	if err := sdk.Decode(raw, &p); err != nil {
		return nil, err
	}
	kind := strings.ToUpper(p.Type)
	if !slices.Contains(types, kind) {
		return nil, sdk.Errorf("/type", "%q is no type that can be asked for; there are %s", p.Type, strings.Join(types, ", "))
	}
	if _, ok := dns.IsDomainName(p.Name); !ok || p.Name == "" {
		return nil, sdk.Errorf("/name", "%q is not a domain name: labels of 1 to 63 bytes with dots between them, 255 bytes in all, or . for the root", p.Name)
	}
	query := new(dns.Msg)
	query.SetQuestion(dns.Fqdn(p.Name), dns.StringToType[kind])
	packed, err := query.Pack()
	if err != nil {
		return nil, sdk.Errorf("/name", "%q cannot be asked for: %s", p.Name, err)
	}
	return &prober{query: packed, what: kind + " " + dns.Fqdn(p.Name)}, nil
}

// Schema is that of the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(defaults()) }

type prober struct {
	// query with any id.
	query []byte
	// what is asked for, for people.
	what string
}

// Probe asks once.
func (p *prober) Probe(ctx context.Context, target sdk.Target) sdk.Result {
	start := time.Now()
	conn, err := dial.UDP(ctx, target)
	if err != nil {
		return dial.Failed(ctx, target, start, "connect", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	id := uint16(rand.Uint32())
	query := slices.Clone(p.query)
	binary.BigEndian.PutUint16(query, id)
	if _, err := conn.Write(query); err != nil {
		return dial.Failed(ctx, target, start, "send the query", err)
	}
	target.Trace("asked %s from %s for %s: id %d, %d bytes", conn.RemoteAddr(), conn.LocalAddr(), p.what, id, len(query))
	return await(ctx, target, start, conn, id)
}

// await reads until the answer has come.
func await(ctx context.Context, target sdk.Target, start time.Time, conn net.Conn, id uint16) sdk.Result {
	buf := make([]byte, longest)
	passed := 0
	var last error
	for {
		n, err := conn.Read(buf)
		if err != nil {
			result := dial.Failed(ctx, target, start, "wait for the answer", err)
			if passed > 0 && result.Outcome == sdk.Down {
				result.Reason += fmt.Sprintf("; %d datagrams were no answer, the last: %s", passed, last)
			}
			return result
		}
		code, err := judge(buf[:n], id)
		switch {
		case errors.Is(err, errNoAnswer):
			passed, last = passed+1, err
			if passed <= traced {
				target.Trace("passed over %d bytes: %s", n, err)
			}
			continue
		case code != dns.RcodeSuccess:
			target.Trace("answer: %s", summary(buf[:n]))
			return sdk.Result{Outcome: sdk.Down, Reason: "the answer is " + codeName(code)}
		}
		target.Trace("answer: %s", summary(buf[:n]))
		return sdk.Result{Outcome: sdk.Up}
	}
}

func codeName(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("code %d", code)
}
