package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/poise-lb/poise/sdk"
	"github.com/poise-lb/poise/sdk/dial"
)

type checker struct{}

// parameters of a check.
type parameters struct {
	Username     string `json:"username" doc:"user to log in as; empty: the default user"`
	PasswordFile string `json:"password_file" doc:"file whose first line is the password; empty: no login"`
}

// Parse reads the parameters of a check. The file is read with each probe: a password
// that changes takes effect at once, and none is kept.
func (checker) Parse(raw json.RawMessage) (sdk.Prober, error) {
	var p prober
	if err := sdk.Decode(raw, &p.parameters); err != nil {
		return nil, err
	}
	if p.PasswordFile != "" && !strings.HasPrefix(p.PasswordFile, "/") {
		return nil, sdk.Errorf("/password_file", "%q is not an absolute path", p.PasswordFile)
	}
	if p.Username != "" && p.PasswordFile == "" {
		return nil, sdk.Errorf("/username", "a user needs a password_file")
	}
	return p, nil
}

// Schema describes the parameters.
func (checker) Schema() json.RawMessage { return sdk.Schema(parameters{}) }

type prober struct{ parameters }

// Probe logs in, if it is asked to, and pings.
func (p prober) Probe(ctx context.Context, t sdk.Target) sdk.Result {
	start := time.Now()
	var login []string
	if p.PasswordFile != "" {
		password, err := firstLine(p.PasswordFile)
		if err != nil {
			return dial.Failed(ctx, t, start, "read the password", dial.Local(err))
		}
		login = []string{"AUTH", password}
		if p.Username != "" {
			login = []string{"AUTH", p.Username, password}
		}
	}
	conn, err := dial.TCP(ctx, t)
	if err != nil {
		return dial.Failed(ctx, t, start, "connect", err)
	}
	defer conn.Close()
	t.Trace("connected to %s", t.Addr)
	answers := bufio.NewReaderSize(conn, 1024)
	if login != nil {
		if r, ok := ask(ctx, t, start, conn, answers, "log in", "+OK", login...); !ok {
			return r
		}
	}
	r, _ := ask(ctx, t, start, conn, answers, "ping", "+PONG", "PING")
	return r
}

// ask sends a command and reads the one line of its answer. What is sent may be secret and
// is not traced.
func ask(ctx context.Context, t sdk.Target, start time.Time, conn io.Writer, answers *bufio.Reader, step, want string, words ...string) (sdk.Result, bool) {
	if _, err := io.WriteString(conn, command(words...)); err != nil {
		return dial.Failed(ctx, t, start, step, err), false
	}
	line, err := answers.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		return dial.Failed(ctx, t, start, step, err), false
	}
	got := strings.TrimRight(string(line), "\r\n")
	if len(got) > 100 {
		got = got[:100] + "..."
	}
	t.Trace("%s: %q", step, got)
	if got != want {
		return sdk.Result{Outcome: sdk.Down, Reason: fmt.Sprintf("%s: it answers %q", step, got)}, false
	}
	return sdk.Result{Outcome: sdk.Up}, true
}

// command is the Redis protocol's form of a command: an array of strings.
func command(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// maxPassword bounds what is read of a file.
const maxPassword = 4096

func firstLine(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("%s has no password in its first line", path)
	}
	return line, nil
}
