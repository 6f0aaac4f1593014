package parity

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/fault"
)

// keepalived has no such checks: their outcomes are of poise alone, against what is
// expected of them. With are more lines of YAML for the check, a line each.

var grpcs = Set{Checker: "grpc", Cases: []Case{
	{Name: "up", Kind: fault.GRPC, Steps: "good*4", Want: "w=100"},
	{Name: "down, up", Kind: fault.GRPC, Steps: "good*2 refuse*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "NOT_SERVING", Kind: fault.GRPC, Steps: "good*2 notserving*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "service not known", Kind: fault.GRPC, Steps: "good*2 unknown*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "no health service", Kind: fault.GRPC, Steps: "good*2 unimplemented*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "an error", Kind: fault.GRPC, Steps: "good*2 error*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "the call never answered", Kind: fault.GRPC, Steps: "good*2 silent*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "never answering", Kind: fault.GRPC, Steps: "good*2 hang*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "half-open", Kind: fault.GRPC, Steps: "good*2 halfopen*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "garbage", Kind: fault.GRPC, Steps: "good*2 garbage*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "connection reset", Kind: fault.GRPC, Steps: "good*2 reset*4 good", Want: "w=100 out@4 w=100@7"},
	{Name: "flapping", Kind: fault.GRPC, Steps: "good notserving good reset good refuse notserving good", Want: "w=100 out@7 w=100@8"},
}}

var agents = Set{Checker: "agent", Cases: []Case{
	{Name: "up", Kind: fault.Agent, Steps: "good*4", Want: "w=100"},
	{Name: "weights", Kind: fault.Agent, Steps: "100% 75% 0% 150% 100%", Want: "w=100 w=75@2 w=0@3 w=150@4 w=100@5"},
	{Name: "drain, ready", Kind: fault.Agent, Steps: "up drain 50% ready", Want: "w=100 w=0@2 w=50@4"},
	{Name: "maint, ready", Kind: fault.Agent, Steps: "up maint*2 ready", Want: "w=100 out@2 w=100@4"},
	{Name: "down with a reason, retries 1", Kind: fault.Agent, Steps: "up down_#_disk_full*3 up", Want: "w=100 out@3 w=100@5"},
	{Name: "down, retries 0", Kind: fault.Agent, Steps: "up stopped up fail up", With: "retries: 0", Want: "w=100 out@2 w=100@3 out@4 w=100@5"},
	{Name: "an agent that is gone says nothing", Kind: fault.Agent, Steps: "75% refuse*3 50%", Want: "w=100 w=75@1 w=50@5"},
	{Name: "an agent that is gone, unknown: down", Kind: fault.Agent, Steps: "up refuse*3 up", With: "unknown: down", Want: "w=100 out@3 w=100@5"},
	{Name: "never answering, reset, garbage", Kind: fault.Agent, Steps: "75% hang reset garbage 50%", Want: "w=100 w=75@1 w=50@5"},
	{Name: "slow", Kind: fault.Agent, Steps: "75% slow:1s*2 50%", Want: "w=100 w=75@1 w=50@4"},
	{Name: "a line that never ends", Kind: fault.Agent, Steps: "75% endless*2 50%", Want: "w=100 w=75@1 w=50@4"},
}}

// TestNativeChecks plays what keepalived has not.
func TestNativeChecks(t *testing.T) {
	s := newStage(t)
	s.native, s.sides = true, s.sides[:1]
	s.play(together, grpcs, agents)
}

// nativeConfiguration is poise's YAML for cases that keepalived's language has no words
// for.
func nativeConfiguration(entries []entry) string {
	checks, services, reals := "", []uint16{}, map[uint16]string{}
	for _, e := range entries {
		words := []string{"type: " + e.checker, "interval: 2s", "timeout: 2s", "retry_delay: 2s", "warmup: 2s"}
		if !strings.Contains(e.With, "retries:") {
			words = append(words, "retries: 1")
		}
		if e.With != "" {
			words = append(words, strings.Split(e.With, "\n")...)
		}
		checks += fmt.Sprintf("  c%d: {%s}\n", e.port, strings.Join(words, ", "))
		if reals[e.service] == "" {
			services = append(services, e.service)
		}
		reals[e.service] += fmt.Sprintf("      - {address: %q, checks: [c%d]}\n", fmt.Sprintf("%s:%d", real, e.port), e.port)
	}
	text := "checks:\n" + checks + "virtual_servers:\n"
	for _, service := range services {
		text += fmt.Sprintf("  - address: %s:%d\n    scheduler: rr\n    forwarding: NAT\n    weight: 100\n    real_servers:\n%s", virtual, service, reals[service])
	}
	return text
}
