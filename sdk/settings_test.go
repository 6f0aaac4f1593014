package sdk

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// settled is a checker that takes settings of its process and looks at them.
type settled struct{ Checker }

func (settled) Parse(json.RawMessage) (Prober, error)     { return nil, nil }
func (settled) Configure(context.Context, Settings) error { return nil }
func (settled) ValidateSettings(p json.RawMessage) []Problem {
	if strings.Contains(string(p), "good") {
		return nil
	}
	return []Problem{{Path: "/a", Message: "is not good"}}
}

// plain takes none.
type plain struct{}

func (plain) Parse(json.RawMessage) (Prober, error) { return nil, nil }

// A plugin's own parameters are looked at in Validate, and that is announced.
func TestValidateSettings(t *testing.T) {
	for _, c := range []struct {
		name       string
		checker    Checker
		parameters string
		want       string
	}{
		{"good", settled{}, `{"a":"good"}`, ""},
		{"bad", settled{}, `{"a":1}`, "/a: is not good"},
		{"takes none, has none", plain{}, ``, ""},
		{"takes none, has empty ones", plain{}, `{}`, ""},
		{"takes none, has some", plain{}, `{"a":1}`, ": plugin x takes no parameters: leave them out"},
	} {
		s := &pluginService{plugin: Plugin{Name: "x", Version: "1", Checkers: map[string]Checker{"x": c.checker}}}
		info, err := s.Describe(t.Context(), &pluginv1.DescribeRequest{})
		if err != nil || len(info.GetFeatures()) != 1 || info.GetFeatures()[0] != featureValidatePlugin {
			t.Errorf("%s: announces %v, %v", c.name, info.GetFeatures(), err)
		}
		r, err := s.Validate(t.Context(), &pluginv1.ValidateRequest{Items: []*pluginv1.ValidateItem{{ParametersJson: []byte(c.parameters)}}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range r.GetProblems() {
			got += p.GetPath() + ": " + p.GetMessage()
		}
		if got != c.want {
			t.Errorf("%s: says %q, want %q", c.name, got, c.want)
		}
	}
}
