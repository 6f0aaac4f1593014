package model_test

import (
	"testing"

	"github.com/poise-lb/poise/core/model"
)

func TestSamePlace(t *testing.T) {
	lab := model.ForwarderInstance{Type: "f5", Name: "lab", Parameters: `{"addresses":["192.0.2.10","192.0.2.11:443"],"partition":"poise"}`}
	for name, test := range map[string]struct {
		parameters string
		same       bool
		elsewhere  bool
	}{
		"itself":            {lab.Parameters, true, false},
		"one unit of it":    {`{"addresses":["192.0.2.11"],"partition":"poise","sync_timeout":"1s"}`, true, false},
		"defaults written":  {`{"addresses":["192.0.2.10:443"],"partition":"poise","mark":"poise","instance":"poise"}`, true, false},
		"another port":      {`{"addresses":["192.0.2.10:8443"],"partition":"poise"}`, false, true},
		"another partition": {`{"addresses":["192.0.2.10"],"partition":"other"}`, false, true},
		"another mark":      {`{"addresses":["192.0.2.10"],"partition":"poise","mark":"x"}`, false, true},
		"another instance":  {`{"addresses":["192.0.2.10"],"partition":"poise","instance":"x"}`, false, true},
		"another device":    {`{"addresses":["192.0.2.12"],"partition":"poise"}`, false, true},
		"nothing said":      {``, false, false},
		"nonsense":          {`{"addresses":7}`, false, false},
	} {
		other := model.ForwarderInstance{Type: "f5", Name: "other", Parameters: test.parameters}
		if got := lab.SamePlace(other); got != test.same || other.SamePlace(lab) != test.same {
			t.Errorf("%s: the same place is %t", name, got)
		}
		if got := lab.Elsewhere(other); got != test.elsewhere || other.Elsewhere(lab) != test.elsewhere {
			t.Errorf("%s: elsewhere is %t", name, got)
		}
	}
	other := lab
	other.Type = "another"
	if lab.SamePlace(other) {
		t.Error("two types share a place")
	}
}
