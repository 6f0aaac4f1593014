package config

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/poise-lb/poise/core/model"
)

// flattened is a map with parameters of a plugin behind its own keys.
type flattened struct {
	own        mapping
	parameters string
}

func (f flattened) node() (*yaml.Node, error) {
	n, err := f.own.node()
	if err != nil {
		return nil, err
	}
	p, err := parameters(json.RawMessage(f.parameters))
	if err != nil {
		return nil, err
	}
	if p != nil {
		if p.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("the parameters are not a map")
		}
		n.Content = append(n.Content, p.Content...)
	}
	return n, nil
}

func forwarders(all []model.ForwarderInstance) mapping {
	var out mapping
	for _, f := range all {
		out = append(out, pair{f.Name, flattened{mapping{{"type", f.Type}, {"group", f.Group}}, f.Parameters}})
	}
	return out
}

// carriers writes one block for all instances of a type where they agree, else a block for
// each.
func carriers(all []model.Carrier) mapping {
	var names []string
	byType := map[string][]model.Carrier{}
	for _, c := range all {
		names = append(names, c.Forwarder)
		if kind, _, ok := strings.Cut(c.Forwarder, ":"); ok {
			byType[kind] = append(byType[kind], c)
		}
	}
	out := mapping{{"forwarders", list(names)}}
	for _, kind := range forwarderTypes {
		some := byType[kind]
		agree := !slices.ContainsFunc(some, func(c model.Carrier) bool {
			return c.Addr != some[0].Addr || c.Parameters != some[0].Parameters
		})
		for _, c := range some {
			key := c.Forwarder
			if agree {
				key = kind
			}
			if c.Addr.IsValid() || c.Parameters != "" {
				out = append(out, pair{key, flattened{mapping{{"address", c.Addr}}, c.Parameters}})
			}
			if agree {
				break
			}
		}
	}
	return out
}
