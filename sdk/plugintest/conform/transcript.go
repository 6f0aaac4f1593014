package conform

import (
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	checkv1 "github.com/poise-lb/poise/proto/poise/check/v1"
)

// golden are transcripts of the first version of poise.check.v1: what a daemon said and
// what a checker answered. They stay as they are: daemons and plugins of different age
// meet. A line that begins with '>' is a RunRequest, with '<' a RunResponse, in the text
// format of protobuf; what follows indented belongs to it. TYPE, ADDRESS, PORT and
// PARAMETERS stand for those of the type that is tested. Of an answer, times are left
// out, texts for people are '*', and beats may come anywhere.
//
//go:embed golden/*.txt
var golden embed.FS

// line of a transcript.
type line struct {
	number int
	sent   bool
	text   string
}

func transcriptLines(text string) []line {
	var out []line
	for i, l := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(l, "#") || strings.TrimSpace(l) == "":
		case strings.HasPrefix(l, ">"), strings.HasPrefix(l, "<"):
			out = append(out, line{number: i + 1, sent: l[0] == '>', text: l[1:]})
		case len(out) > 0:
			out[len(out)-1].text += "\n" + l
		}
	}
	return out
}

// quoted is a protobuf text string without its quotes.
func quoted(s string) string {
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

func playTranscripts(r *run) error {
	if err := r.scheduled(); err != nil {
		return err
	}
	files, err := golden.ReadDir("golden")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := golden.ReadFile(path.Join("golden", f.Name()))
		if err != nil {
			return err
		}
		address := ""
		if r.t.Target.IsValid() {
			address = r.t.Target.Addr().String()
		}
		filled := strings.NewReplacer("TYPE", quoted(r.kind.GetType()), "ADDRESS", address, `"PORT"`, strconv.Itoa(int(r.t.Target.Port())),
			"PARAMETERS", quoted(r.t.Parameters)).Replace(string(text))
		if err := r.play(filled); err != nil {
			return fmt.Errorf("%s, %w", f.Name(), err)
		}
	}
	return nil
}

// play sends and expects, with a process of its own.
func (r *run) play(text string) error {
	if r.process != nil {
		r.process.end()
	}
	if err := r.start(); err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	s, err := r.open()
	if err != nil {
		return fmt.Errorf("line 1: %w", err)
	}
	heard := 0
	for _, l := range transcriptLines(text) {
		if l.sent {
			request := &checkv1.RunRequest{}
			if err := prototext.Unmarshal([]byte(l.text), request); err != nil {
				return fmt.Errorf("line %d: %w", l.number, err)
			}
			if err := s.run.Send(request); err != nil {
				return fmt.Errorf("line %d: send: %w", l.number, err)
			}
			continue
		}
		want := &checkv1.RunResponse{}
		if err := prototext.Unmarshal([]byte(l.text), want); err != nil {
			return fmt.Errorf("line %d: %w", l.number, err)
		}
		if !r.eventually(func() bool { return len(s.heard(heard)) > 0 || s.ended() != nil }) || len(s.heard(heard)) == 0 {
			return fmt.Errorf("line %d: nothing came, want %s", l.number, oneLine(want))
		}
		got, err := plain(s.heard(heard)[0])
		if err != nil {
			return fmt.Errorf("line %d: %w", l.number, err)
		}
		if !proto.Equal(got, want) {
			return fmt.Errorf("line %d: %s came, want %s", l.number, oneLine(got), oneLine(want))
		}
		heard++
	}
	return nil
}

// plain takes out of an answer what is not the same each time.
func plain(m *checkv1.RunResponse) (*checkv1.RunResponse, error) {
	m = proto.CloneOf(m)
	star := func(s *string) {
		if *s != "" {
			*s = "*"
		}
	}
	for _, rejected := range m.GetApplied().GetRejected() {
		star(&rejected.Message)
		rejected.Path = ""
	}
	for _, v := range m.GetVerdicts().GetVerdicts() {
		if !v.GetDecidedAt().IsValid() || proto.Equal(v.GetDecidedAt(), &timestamppb.Timestamp{}) {
			return nil, fmt.Errorf("a verdict does not say when it was decided: %s", oneLine(m))
		}
		star(&v.Reason)
		v.DecidedAt, v.Weight, v.WeightMode, v.Admin = nil, 0, 0, 0
	}
	return m, nil
}

// oneLine is a message in protobuf's text format, whose spaces are not always the same.
func oneLine(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}
