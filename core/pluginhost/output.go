package pluginhost

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// maxLine is how much of a line of output is looked at; the rest is dropped.
const maxLine = 64 << 10

// maxHandshake is more than a handshake has with a certificate in it.
const maxHandshake = 16 << 10

// output puts what a process writes into the log.
type output struct {
	logger hclog.Logger
	// panicking: a Go stack trace is being written.
	panicking bool
}

// stdout passes the first line, go-plugin's handshake, on, and logs the others: nothing
// else belongs there.
func (o *output) stdout(from io.Reader, handshake *io.PipeWriter) {
	first := true
	readLines(from, func(line string) {
		if first && len(line) < maxHandshake {
			_, _ = io.WriteString(handshake, line+"\n")
		} else {
			o.stray(line)
		}
		if first {
			first = false
			_ = handshake.Close()
		}
	})
	_ = handshake.Close()
}

// stderr logs hclog's JSON lines at their level, and others as what they seem to be.
func (o *output) stderr(from io.Reader) { readLines(from, o.line) }

// stray logs a line that does not belong where it was written.
func (o *output) stray(line string) {
	if line != "" {
		o.logger.Warn("stray output of the plugin", "line", clean(line))
	}
}

// line logs one line of standard error.
func (o *output) line(line string) {
	if line == "" {
		return
	}
	if e, ok := parseEntry(line); ok {
		o.panicking = false
		o.logger.Log(e.level, e.message, e.fields...)
		return
	}
	level := hclog.Debug
	for prefix, l := range prefixes {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			line, level = strings.TrimSpace(rest), l
		}
	}
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		o.panicking = true
	}
	if o.panicking {
		level = hclog.Error
	}
	o.logger.Log(level, clean(line))
}

var prefixes = map[string]hclog.Level{
	"[TRACE]": hclog.Trace, "[DEBUG]": hclog.Debug, "[INFO]": hclog.Info, "[WARN]": hclog.Warn, "[ERROR]": hclog.Error,
}

// entry is a line that hclog wrote as JSON.
type entry struct {
	level   hclog.Level
	message string
	fields  []any
}

// parseEntry reads a line of hclog; anything else is not ok. Time and module are left
// out: the daemon's log has them.
func parseEntry(line string) (entry, bool) {
	var fields map[string]any
	if !strings.HasPrefix(line, "{") {
		return entry{}, false
	}
	decoder := json.NewDecoder(strings.NewReader(line))
	decoder.UseNumber()
	if decoder.Decode(&fields) != nil || decoder.More() {
		return entry{}, false
	}
	message, ok := fields["@message"].(string)
	if !ok {
		return entry{}, false
	}
	name, _ := fields["@level"].(string)
	e := entry{level: hclog.LevelFromString(name), message: clean(message)}
	if e.level == hclog.NoLevel || e.level == hclog.Off {
		e.level = hclog.Info
	}
	keys := make([]string, 0, len(fields))
	for k := range fields {
		if !strings.HasPrefix(k, "@") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		e.fields = append(e.fields, clean(k), value(fields[k]))
	}
	return e, true
}

// value gives numbers and texts as they are and everything else as JSON.
func value(v any) any {
	switch v := v.(type) {
	case string:
		return clean(v)
	case bool:
		return v
	case json.Number:
		return clean(v.String())
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// clean takes out what would let a plugin write lines or terminal codes of its own.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return ' '
		}
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// readLines calls f with every line until nothing more comes.
func readLines(from io.Reader, f func(line string)) {
	reader := bufio.NewReaderSize(from, maxLine)
	rest := false
	for {
		line, more, err := reader.ReadLine()
		if err != nil {
			return
		}
		if !rest {
			f(string(line))
		}
		rest = more
	}
}

// strayWriter takes what a plugin prints after the handshake, in chunks.
type strayWriter struct {
	output *output
	rest   string
}

// Write logs whole lines and keeps the last part for the next chunk.
func (w *strayWriter) Write(p []byte) (int, error) {
	w.rest += string(p)
	for {
		line, rest, found := strings.Cut(w.rest, "\n")
		if !found && len(w.rest) < maxLine {
			return len(p), nil
		}
		w.output.stray(strings.TrimSuffix(line, "\r"))
		w.rest = rest
	}
}

// quietLogger has what go-plugin says of itself at debug: what matters of it is told by
// the host, once, in its own words.
type quietLogger struct{ hclog.Logger }

func (l quietLogger) Info(m string, args ...any)       { l.Logger.Debug(m, args...) }
func (l quietLogger) Warn(m string, args ...any)       { l.Logger.Debug(m, args...) }
func (l quietLogger) Error(m string, args ...any)      { l.Logger.Debug(m, args...) }
func (l quietLogger) Named(name string) hclog.Logger   { return quietLogger{l.Logger.Named(name)} }
func (l quietLogger) With(args ...any) hclog.Logger    { return quietLogger{l.Logger.With(args...)} }
func (l quietLogger) ResetNamed(n string) hclog.Logger { return quietLogger{l.Logger.ResetNamed(n)} }
