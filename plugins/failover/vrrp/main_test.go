package vrrp

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/poise-lb/poise/plugins/failover/vrrp/netio"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
	"github.com/poise-lb/poise/sdk"
)

// childEnv makes the test binary one of the processes of a scenario: it is started
// again inside a network namespace.
const childEnv = "POISE_VRRP_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		flag.Parse()
		// The scenarios wait most of the time.
		if attempt() == 0 {
			if err := flag.Set("test.parallel", "6"); err != nil {
				panic(err)
			}
		}
		go watchStalls()
		code := m.Run()
		if code == 0 {
			if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/poise-lb/poise/plugins/failover/vrrp.watchStalls")); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
		if code == 0 {
			code = runAgain()
		}
		os.Exit(code)
	case "director":
		os.Exit(director(os.Getenv("POISE_VRRP_TEST_DIR")))
	case "injector":
		os.Exit(injector())
	case "sniffer":
		os.Exit(sniff(os.Getenv("POISE_VRRP_TEST_DIR")))
	}
}

// command is a line on a director's stdin; event one on its stdout.
type command struct {
	Do  string          `json:"do"`
	Set json.RawMessage `json:"set,omitempty"`
}

type event struct {
	At       time.Time       `json:"at"`
	Kind     string          `json:"kind"`
	Response json.RawMessage `json:"response,omitempty"`
	Text     string          `json:"text,omitempty"`
}

// director runs a provider as the sdk does.
func director(dir string) int {
	events := make(chan event, 1024)
	written := make(chan struct{})
	go func() {
		defer close(written)
		out := json.NewEncoder(os.Stdout)
		for e := range events {
			_ = out.Encode(e)
		}
	}()
	emit := func(kind, text string) { events <- event{At: time.Now(), Kind: kind, Text: text} }
	logger := hclog.New(&hclog.LoggerOptions{Output: os.Stderr, Level: hclog.Debug})
	p := New()
	err := p.Configure(context.Background(), sdk.Settings{Name: "vrrp", RuntimeDir: dir, BeatInterval: 100 * time.Millisecond, Logger: logger})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sets, lost, ended := make(chan *failoverv1.SetGroups), make(chan struct{}), make(chan error, 1)
	commands := make(chan command)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c command
			if json.Unmarshal(lines.Bytes(), &c) == nil {
				commands <- c
			}
		}
		commands <- command{Do: "end"}
	}()
	// What runs now is the test's own; when Run has returned nothing else may.
	others := goleak.IgnoreCurrent()
	go func() {
		ended <- p.Run(ctx, sets, lost, func(m *failoverv1.RunResponse) {
			data, _ := protojson.Marshal(m)
			events <- event{At: time.Now(), Kind: "report", Response: data}
		})
	}()
	for {
		select {
		case err := <-ended:
			cancel()
			text := fmt.Sprint(err)
			if err := goleak.Find(others); err != nil {
				text = err.Error()
			}
			emit("ended", text)
			close(events)
			<-written
			return 0
		case c := <-commands:
			switch c.Do {
			case "set":
				set := &failoverv1.SetGroups{}
				if err := protojson.Unmarshal(c.Set, set); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return 1
				}
				go func() {
					select {
					case sets <- set:
					case <-ctx.Done():
					}
				}()
			case "lose":
				close(lost)
			case "withdraw", "leave":
				mode := pluginv1.StopMode_STOP_MODE_WITHDRAW
				if c.Do == "leave" {
					mode = pluginv1.StopMode_STOP_MODE_LEAVE
				}
				go func() {
					stopCtx, done := context.WithTimeout(ctx, 10*time.Second)
					defer done()
					err := p.Stop(stopCtx, mode)
					emit("stopped", fmt.Sprint(err))
					cancel()
				}()
			case "end":
				return 0
			}
		}
	}
}

// injector sends the packets on stdin, in hexadecimal, on eth0.
func injector() int {
	link, err := net.InterfaceByName("eth0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	socket, err := netio.Listen(link.Index, link.Name, make(chan netio.Packet))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		datagram, err := hex.DecodeString(lines.Text())
		if err == nil {
			err = socket.Send(datagram)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", lines.Text(), err)
			return 1
		}
	}
	return 0
}
