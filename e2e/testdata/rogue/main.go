// Command rogue is a plugin that the tests have misbehave: "rogue word" serves checks
// through the sdk whose probes may hang, "rogue flood FILE" speaks the wire itself and
// floods it when FILE says so. What a check says is the first word of its own file: up,
// down, or hang.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/poise-lb/poise/sdk"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "word":
		sdk.Serve(sdk.Plugin{Name: "rogue-word", Version: "1.0.0", Checkers: map[string]sdk.Checker{"word": checker{}}})
	case len(os.Args) == 3 && os.Args[1] == "flood":
		serveFlood(os.Args[2])
	}
	fmt.Fprintln(os.Stderr, "rogue: word, or flood FILE")
	os.Exit(1)
}

// parameters of a check of either kind.
type parameters struct {
	File string `json:"file" doc:"what the check says"`
}

type checker struct{}

func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	var p parameters
	if err := sdk.Decode(raw, &p); err != nil {
		return nil, err
	}
	return prober(p), nil
}

type prober parameters

// Probe keeps to no deadline: it hangs for as long as its file says so.
func (p prober) Probe(context.Context, sdk.Target) sdk.Result {
	for {
		switch w := word(p.File); w {
		case "up":
			return sdk.Result{Outcome: sdk.Up}
		case "down":
			return sdk.Result{Outcome: sdk.Down, Reason: "its file says so"}
		case "hang":
			time.Sleep(20 * time.Millisecond)
		default:
			return sdk.Result{Outcome: sdk.Unknown, Reason: fmt.Sprintf("its file says %q", w)}
		}
	}
}

// word is the first one of a file.
func word(path string) string {
	if words := words(path); len(words) > 0 {
		return words[0]
	}
	return ""
}

func words(path string) []string {
	text, _ := os.ReadFile(path)
	return strings.Fields(string(text))
}
