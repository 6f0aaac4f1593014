package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/proto/handshake"
	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

const (
	up   = checkv1.VerdictState_VERDICT_STATE_UP
	down = checkv1.VerdictState_VERDICT_STATE_DOWN

	// strangers are checks that nobody has, in each message of a flood.
	strangers = 200
	// lookEvery is how often files are read.
	lookEvery = 50 * time.Millisecond
)

// flood is a plugin without the sdk. The first word of its file is what it does:
//
//	quiet  what a checker does: a verdict when it changes, a beat now and then
//	flood  as many messages as the stream takes: every verdict of its own again, verdicts
//	       of checks that nobody has, and, for each further word ID=STATE, that verdict of
//	       somebody else's check; and a beat
//	flap   its own verdicts, up and down in turn, with long reasons
type flood struct {
	checkv1.UnimplementedCheckServiceServer
	pluginv1.UnimplementedPluginServiceServer
	goplugin.NetRPCUnsupportedPlugin
	file string
}

func serveFlood(file string) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: handshake.ProtocolVersion, MagicCookieKey: handshake.CookieKey, MagicCookieValue: handshake.CookieValue,
		},
		Plugins:    goplugin.PluginSet{handshake.PluginName: &flood{file: file}},
		GRPCServer: goplugin.DefaultGRPCServer,
	})
}

func (f *flood) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServiceServer(s, f)
	checkv1.RegisterCheckServiceServer(s, f)
	return nil
}

func (*flood) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this is the plugin")
}

func (*flood) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Name: "rogue-flood", Version: "1.0.0",
		Kinds: []*pluginv1.Kind{{Interface: pluginv1.Interface_INTERFACE_CHECK, Type: "flood"}}}, nil
}

func (*flood) Validate(context.Context, *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	return &pluginv1.ValidateResponse{}, nil
}

func (*flood) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{}, nil
}

func (*flood) Stop(context.Context, *pluginv1.StopRequest) (*pluginv1.StopResponse, error) {
	return &pluginv1.StopResponse{}, nil
}

// session is one stream.
type session struct {
	*flood
	stream checkv1.CheckService_RunServer
	// files by the id of the check; words is what is in them, told what was said last.
	files, words, told map[string]string
	// sent counts messages, which are told as probes.
	sent   uint64
	flip   bool
	beatAt time.Time
}

func (f *flood) Run(stream checkv1.CheckService_RunServer) error {
	sets := make(chan *checkv1.SetChecks)
	go func() {
		defer close(sets)
		for {
			request, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case sets <- request.GetSetChecks():
			case <-stream.Context().Done():
				return
			}
		}
	}()
	s := &session{flood: f, stream: stream}
	for {
		orders := words(f.file)
		if len(orders) == 0 {
			orders = []string{"quiet"}
		}
		s.look()
		for again := time.Now().Add(lookEvery); time.Now().Before(again); {
			pause := time.Duration(0)
			switch orders[0] {
			case "quiet":
				pause = lookEvery
			case "flap":
				pause = time.Millisecond
			}
			select {
			case set, ok := <-sets:
				if !ok {
					return nil
				}
				if err := s.take(set); err != nil {
					return err
				}
			default:
				time.Sleep(pause)
			}
			if err := s.act(orders); err != nil {
				return err
			}
		}
	}
}

func (s *session) take(set *checkv1.SetChecks) error {
	s.files, s.told = map[string]string{}, map[string]string{}
	for _, c := range set.GetChecks() {
		var p parameters
		if err := json.Unmarshal(c.GetParametersJson(), &p); err != nil {
			return err
		}
		s.files[c.GetId()] = p.File
	}
	s.look()
	return s.send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Applied{Applied: &checkv1.Applied{Generation: set.GetGeneration()}}})
}

func (s *session) look() {
	s.words = map[string]string{}
	for id, file := range s.files {
		s.words[id] = word(file)
	}
}

// act does once what it is told to.
func (s *session) act(orders []string) error {
	out := &checkv1.Verdicts{}
	switch orders[0] {
	case "flap":
		s.flip = !s.flip
		for id := range s.files {
			state, reason := up, strings.Repeat("flap ", 800)
			if s.flip {
				state = down
			}
			out.Verdicts = append(out.Verdicts, verdict(id, state, reason))
			s.told[id] = "" // the true one is news after that
		}
	default:
		for id, w := range s.words {
			if w != s.told[id] || orders[0] == "flood" {
				s.told[id] = w
				state := map[string]checkv1.VerdictState{"up": up, "down": down}[w]
				out.Verdicts = append(out.Verdicts, verdict(id, state, "its file says so"))
			}
		}
	}
	if orders[0] == "flood" {
		for i := range strangers {
			out.Verdicts = append(out.Verdicts, verdict(fmt.Sprintf("stranger-%d-%d", s.sent, i), down, "made up"))
		}
		for _, order := range orders[1:] {
			id, state, _ := strings.Cut(order, "=")
			out.Verdicts = append(out.Verdicts, verdict(id, map[string]checkv1.VerdictState{"up": up, "down": down}[state], "made up"))
		}
	}
	if len(out.Verdicts) > 0 {
		if err := s.send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Verdicts{Verdicts: out}}); err != nil {
			return err
		}
	}
	if orders[0] == "flood" || time.Since(s.beatAt) > 200*time.Millisecond {
		s.beatAt = time.Now()
		return s.send(&checkv1.RunResponse{Message: &checkv1.RunResponse_Beat{Beat: &checkv1.Beat{
			Beat: &pluginv1.Beat{Progress: s.sent + 1}, Probes: s.sent + 1}}})
	}
	return nil
}

func (s *session) send(m *checkv1.RunResponse) error {
	s.sent++
	return s.stream.Send(m)
}

func verdict(id string, state checkv1.VerdictState, reason string) *checkv1.Verdict {
	return &checkv1.Verdict{CheckId: id, State: state, Reason: reason, DecidedAt: timestamppb.Now()}
}
