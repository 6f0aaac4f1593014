package config

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/poise-lb/poise/core/model"
)

// WriteYAML writes a configuration as poise's own YAML, which loads back to a deeply
// equal one. It holds the configuration's secrets: whoever calls it says where to.
func WriteYAML(w io.Writer, c model.Config) error {
	b := &builder{names: map[definitionKey]string{}, counts: map[string]int{}}
	services := b.services(c.VirtualServers)
	top := mapping{
		{"router_id", c.RouterID},
		{"forwarder", c.Forwarder},
		{"forwarders", forwarders(c.Forwarders)},
		{"grace_time", c.GraceTime},
		{"reconcile_interval", c.ReconcileInterval},
		{"restart", mapping{{"min", c.Restart.Min}, {"max", c.Restart.Max}}},
		{"plugins", plugins(c.Plugins)},
		{"checks", b.definitions},
		{"virtual_servers", services},
		{"failover_groups", groups(c.FailoverGroups)},
	}
	if c.MetricsAddress.IsValid() {
		top = append(top, pair{"metrics", mapping{{"address", c.MetricsAddress.String()}}})
	}
	if s := c.ConnectionSync; s != nil {
		top = append(top, pair{"connection_sync", mapping{
			{"group", s.Group}, {"interface", s.Interface}, {"id", always(s.ID)}, {"max_length", s.MaxLength},
			{"port", s.Port}, {"ttl", s.TTL}, {"multicast", s.Multicast},
		}})
	}
	n, err := top.node()
	if err != nil {
		return err
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return fmt.Errorf("write the configuration as YAML: %w", err)
	}
	return e.Close()
}

// pair is a key with its value. Zero values are left out: they are the defaults.
type pair struct {
	key   string
	value any
}

// mapping is a map in the order it was written.
type mapping []pair

// alwaysValue is written even if it is zero.
type alwaysValue struct{ value any }

func always(v any) alwaysValue { return alwaysValue{v} }

func (m mapping) node() (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range m {
		v, err := valueNode(p.value)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", p.key, err)
		}
		if v == nil {
			continue
		}
		k := &yaml.Node{}
		k.SetString(p.key)
		n.Content = append(n.Content, k, v)
	}
	return n, nil
}

// valueNode gives nil for what is left out.
func valueNode(v any) (*yaml.Node, error) {
	n := &yaml.Node{}
	switch x := v.(type) {
	case alwaysValue:
		return n, n.Encode(x.value)
	case mapping:
		if len(x) == 0 {
			return nil, nil
		}
		return x.node()
	case []any:
		if len(x) == 0 {
			return nil, nil
		}
		n.Kind = yaml.SequenceNode
		for _, item := range x {
			c, err := valueNode(item)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		return n, nil
	case time.Duration:
		return n, n.Encode(duration(x))
	case netip.Addr:
		if !x.IsValid() {
			return nil, nil
		}
		return n, n.Encode(x.String())
	case json.RawMessage:
		return parameters(x)
	case flattened:
		return x.node()
	case string:
		if x == "" {
			return nil, nil
		}
	case bool:
		if !x {
			return nil, nil
		}
	case uint8, uint16, uint32:
		if s := fmt.Sprint(x); s == "0" {
			return nil, nil
		}
	}
	return n, n.Encode(v)
}

// parameters turns canonical JSON into YAML; numbers stay what they are.
func parameters(raw json.RawMessage) (*yaml.Node, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read the parameters: %w", err)
	}
	return plainNode(v)
}

// plainNode makes a node of decoded JSON with its keys in order.
func plainNode(v any) (*yaml.Node, error) {
	n := &yaml.Node{}
	switch x := v.(type) {
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, key := range slices.Sorted(maps.Keys(x)) {
			value, err := plainNode(x[key])
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, textNode(key), value)
		}
		return n, nil
	case []any:
		n.Kind = yaml.SequenceNode
		for _, item := range x {
			c, err := plainNode(item)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		return n, nil
	case string:
		return textNode(x), nil
	case json.Number:
		return n, n.Encode(plainNumber(x))
	}
	return n, n.Encode(v)
}

// textNode quotes what is more than one plain line: the encoder writes tabs and line feeds
// in blocks that it does not read back.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if strings.ContainsFunc(s, unicode.IsControl) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// plainNumber is a number as small as it can be.
func plainNumber(x json.Number) any {
	if i, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(x.String(), 10, 64); err == nil {
		return u
	}
	f, _ := x.Float64()
	return f
}

// duration is 1m where Go says 1m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// endpoint leaves a port of 0 out.
func endpoint(a netip.AddrPort) string {
	if a.Port() == 0 {
		return a.Addr().String()
	}
	return a.String()
}

// builder names the definitions of checks.
type builder struct {
	names       map[definitionKey]string
	counts      map[string]int
	definitions mapping
}

// definitionKey is what two checks share that are one definition.
type definitionKey struct {
	check model.Check
	addr  netip.Addr
	port  uint16
}

// check gives the name of a check's definition. What is the real server's own
// address or port is left open in it.
func (b *builder) check(c model.Check, real netip.AddrPort, servicePort uint16) string {
	k := definitionKey{check: c, addr: c.Target.Addr.Addr(), port: c.Target.Addr.Port()}
	k.check.Target.Addr = netip.AddrPort{}
	if k.addr == real.Addr() {
		k.addr = netip.Addr{}
	}
	own := real.Port()
	if own == 0 {
		own = servicePort
	}
	if k.port == own {
		k.port = 0
	}
	if name, ok := b.names[k]; ok {
		return name
	}
	b.counts[c.Type]++
	name := c.Type
	if n := b.counts[c.Type]; n > 1 {
		name += "-" + strconv.Itoa(n)
	}
	for slices.ContainsFunc(b.definitions, func(p pair) bool { return p.key == name }) {
		name += "-"
	}
	b.names[k] = name
	m := append(mapping{{"type", c.Type}}, schedule(c)...)
	m = append(m, pair{"address", k.addr}, pair{"port", k.port})
	if s := c.Target.Source; s.IsValid() {
		m = append(m, pair{"source", endpoint(s)})
	}
	m = append(m, pair{"interface", c.Target.Interface}, pair{"fwmark", c.Target.FWMark})
	if c.OnUnknown != model.KeepVerdict {
		m = append(m, pair{"unknown", c.OnUnknown.String()})
	}
	m = append(m, pair{"parameters", json.RawMessage(c.Parameters)})
	b.definitions = append(b.definitions, pair{name, m})
	return name
}

// schedule is nothing for a check that is watched.
func schedule(c model.Check) mapping {
	if checkTypes[c.Type].watched {
		return nil
	}
	m := mapping{
		{"interval", c.Schedule.Interval}, {"timeout", c.Schedule.Timeout},
		{"retries", always(c.Schedule.Retries)}, {"retry_delay", c.Schedule.RetryDelay},
	}
	if c.Schedule.Warmup != c.Schedule.Interval {
		m = append(m, pair{"warmup", c.Schedule.Warmup})
	}
	return m
}
