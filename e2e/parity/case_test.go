package parity

import (
	"fmt"
	"slices"
	"strings"

	"github.com/poise-lb/poise/e2e/fault"
)

// Case is a pair: a check that both daemons make.
type Case struct {
	// Name says what happens.
	Name string
	// Kind and Steps are of the server that is checked. Without a kind the case has no
	// outcome of its own: it is there for another one.
	Kind  fault.Kind
	Steps string
	// Check are the checker blocks of the real server, a keyword a line, each ended by a
	// brace at the margin; "" is one block of the set's checker. In each text of a case
	// PORT is its port, and PORT1, PORT2 … are the next ones; DIR is the daemon's directory.
	Check string
	// With has keywords for every checker block, a line each. They take the place of those
	// of the default timing.
	With string
	// Real has more lines for the real server. IPv6 gives it that address, and Address
	// another one: the check says itself what it checks.
	Real, Address string
	IPv6          bool
	// Own is a virtual server of the case's own, a head and its lines; without it the
	// real server is one of those of the set's virtual server. Before goes before it.
	Own, Before string
	// Ports are more ports of the server, their numbers counted from the case's.
	Ports []fault.Port
	// Want is the outcome; with Last only the last state.
	Want string
	Last bool
	// Poise is poise's outcome where it is meant to differ, and Why says why.
	Poise, Why string
}

// Set is the cases of a checker.
type Set struct {
	Checker string
	Cases   []Case
}

const (
	real, real6 = "192.168.1.106", "2001:db8::106"
	director    = "192.168.1.2"
	// virtual are the addresses of the virtual servers.
	virtual, virtual6 = "192.0.2.1", "2001:db8:1::1"
	// firstPort is the first case's; each has so many.
	firstPort, portsEach = 10000, 10
)

// script is the kind of a case whose probes are runs of a script; its steps are exit
// codes, "sleep" for longer than any timeout, and "kill" for a signal.
const script fault.Kind = "script"

// timing is of every checker block that says nothing else: short enough for a test,
// and long enough that a verdict is in the kernel before the next probe.
var timing = []string{"connect_timeout 2", "delay_loop 2", "retry 1", "delay_before_retry 2", "warmup 2"}

// port is a case's first.
func port(i int) uint16 { return uint16(firstPort + i*portsEach) }

// config is the real server of a case.
func (c Case) config(checker string, port uint16) string {
	check := c.Check
	if check == "" {
		check = checker + " {\n}\n"
	}
	inner := ""
	lines := slices.DeleteFunc(strings.Split(c.With, "\n"), func(s string) bool { return strings.TrimSpace(s) == "" })
	for _, line := range timing {
		word, _, _ := strings.Cut(line, " ")
		if !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), word+" ") }) &&
			!unknownTo(checker, word) {
			inner += "\t\t\t" + line + "\n"
		}
	}
	for _, line := range lines {
		inner += "\t\t\t" + strings.TrimSpace(line) + "\n"
	}
	check = strings.ReplaceAll(check, "\n}\n", "\n"+inner+"\t\t}\n")
	address := real
	if c.IPv6 {
		address = real6
	}
	if c.Address != "" {
		address = c.Address
	}
	lines = append([]string{"weight 1"}, strings.Split(c.Real, "\n")...)
	if strings.Contains(c.Real, "weight ") {
		lines = lines[1:]
	}
	return c.fill(fmt.Sprintf("\treal_server %s PORT {\n\t\t%s\n\t\t%s\t}\n", address, strings.Join(lines, "\n\t\t"), check), port)
}

// server is a virtual server with these real servers.
func server(head, reals string) string {
	key, lines, _ := strings.Cut(head, "\n")
	return fmt.Sprintf("virtual_server %s {\n\tlb_algo rr\n\tlb_kind NAT\n\tprotocol TCP\n\tdelay_loop 2\n\t%s\n%s}\n", key, lines, reals)
}

// unknownTo says whether a checker has no such keyword.
func unknownTo(checker, word string) bool {
	switch checker {
	case "MISC_CHECK":
		return word == "connect_timeout"
	case "FILE_CHECK", "BFD_CHECK":
		return true
	}
	return false
}

// fill puts the case's ports in.
func (c Case) fill(text string, port uint16) string {
	for i := range portsEach - 1 {
		text = strings.ReplaceAll(text, fmt.Sprint("PORT", i+1), fmt.Sprint(int(port)+i+1))
	}
	return strings.ReplaceAll(text, "PORT", fmt.Sprint(port))
}

// number is how many probes of a case count; -1: it has none.
func (c Case) number() int {
	steps, err := fault.Parse(c.Steps)
	if err != nil {
		return -1
	}
	return len(steps)
}
