package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Kind is what a port speaks.
type Kind string

// Kinds. Ping is no port: its number is the version of IP, 4 or 6. Watch is a port of
// somebody else's server: its probes are counted and nothing is done.
const (
	TCP      Kind = "tcp"
	HTTP     Kind = "http"
	HTTPS    Kind = "https"
	SMTP     Kind = "smtp"
	DNS      Kind = "dns"
	UDP      Kind = "udp"
	GRPC     Kind = "grpc"
	Agent    Kind = "agent"
	Ping     Kind = "ping"
	Watch    Kind = "watch"
	WatchUDP Kind = "watchudp"
)

// Port is what the server does on one port.
type Port struct {
	Kind  Kind
	Port  uint16
	Steps string
}

// Parse gives the steps one by one; there is at least one.
func Parse(steps string) ([]string, error) {
	var out []string
	for _, word := range strings.Fields(steps) {
		step, times, many := strings.Cut(word, "*")
		n := 1
		if many {
			var err error
			if n, err = strconv.Atoi(times); err != nil || n < 1 {
				return nil, fmt.Errorf("%q: the number after * is none", word)
			}
		}
		for range n {
			out = append(out, step)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q has no steps", steps)
	}
	return out, nil
}

// load reads a file of ports.
func load(path string) ([]Port, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []Port
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}
