package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/poise-lb/poise/core/model"
)

// Severity says how bad a problem is.
type Severity uint8

// Severities. An error makes the configuration unusable.
const (
	Warning Severity = iota
	Error
)

// String gives "warning", "error".
func (s Severity) String() string { return [...]string{"warning", "error"}[s] }

// Problem is one finding in a file.
type Problem struct {
	File string
	// Line is at least 1.
	Line     int
	Severity Severity
	Message  string
}

// String gives "FILE:LINE: error: message".
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Severity, p.Message)
}

// Options of Load; the zero value is good.
type Options struct {
	// ConfigID is compared with the @ID lines of a keepalived.conf (keepalived -i).
	// Empty: the host's name up to the first dot.
	ConfigID string
	// Known tells whether a type of check exists; nil: every type is taken.
	Known func(checkType string) bool
}

// Result is what was read.
type Result struct {
	// Config is usable only if HasErrors is false.
	Config model.Config
	// Problems in the order of their files and lines.
	Problems []Problem

	path       string
	checks     map[model.Check]checkPlace
	plugins    map[string]checkPlace
	forwarders map[string]checkPlace
	services   map[model.ServiceKey]servicePlace
}

// HasErrors tells whether the configuration is unusable.
func (r Result) HasErrors() bool { return r.has(Error) }

// HasWarnings tells whether there is something to look at.
func (r Result) HasWarnings() bool { return r.has(Warning) }

func (r Result) has(s Severity) bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Severity == s })
}

// Locate tells where a check of the configuration stands, as exactly as it is known:
// parameter is a JSON pointer into the check's parameters, or empty for the check as
// a whole. For a check that is not in the configuration it gives line 1 of the file.
func (r Result) Locate(check model.Check, parameter string) (file string, line int) {
	return r.locate(r.checks[check], parameter)
}

// LocatePlugin tells where a key of the settings of a plugin stands, as a JSON pointer
// ("/sha256", "/parameters/servers/0"); empty for the plugin as a whole. For a plugin
// that is not in the configuration it gives line 1 of the file.
func (r Result) LocatePlugin(name, key string) (file string, line int) {
	return r.locate(r.plugins[name], key)
}

func (r Result) locate(at checkPlace, pointer string) (file string, line int) {
	if at.line == 0 {
		return r.path, 1
	}
	for p := pointer; p != ""; p = p[:max(strings.LastIndexByte(p, '/'), 0)] {
		if l, ok := at.parameters[p]; ok {
			return at.file, l
		}
	}
	return at.file, at.line
}

// place is where something stands in a file.
type place struct {
	file string
	line int
}

// checkPlace is where a check, a plugin or a forwarder stands, and its parameters or
// settings by JSON pointer.
type checkPlace struct {
	place
	parameters map[string]int
}

// Load reads the file at path: .yaml, .yml, .toml and .json are poise's own format,
// everything else is a keepalived.conf.
func Load(path string, o Options) Result {
	if o.ConfigID == "" {
		name, _ := os.Hostname()
		o.ConfigID, _, _ = strings.Cut(name, ".")
	}
	d := newDraft(o)
	switch format := strings.ToLower(filepath.Ext(path)); format {
	case ".yaml", ".yml", ".toml", ".json":
		loadNative(d, path, format)
	default:
		loadKeepalived(d, place{path, 1}, path)
	}
	d.finish(path)
	return Result{
		Config: d.config, Problems: d.sorted(), path: path,
		checks: d.checks, plugins: d.plugins, forwarders: d.forwarders, services: d.servicePlaces(),
	}
}

// problems collects findings; every reader has one.
type problems struct {
	list  []Problem
	files map[string]int
}

func (p *problems) errorf(at place, format string, args ...any) {
	p.add(at, Error, format, args...)
}

func (p *problems) warnf(at place, format string, args ...any) {
	p.add(at, Warning, format, args...)
}

func (p *problems) add(at place, s Severity, format string, args ...any) {
	p.seen(at.file)
	n := Problem{File: at.file, Line: max(at.line, 1), Severity: s, Message: oneLine(fmt.Sprintf(format, args...))}
	if !slices.Contains(p.list[max(0, len(p.list)-8):], n) {
		p.list = append(p.list, n)
	}
}

// failed tells whether there is an error.
func (p *problems) failed() bool {
	return slices.ContainsFunc(p.list, func(n Problem) bool { return n.Severity == Error })
}

// seen notes a file, so that problems come in the order in which files were read.
func (p *problems) seen(file string) {
	if _, ok := p.files[file]; !ok {
		p.files[file] = len(p.files)
	}
}

func (p *problems) sorted() []Problem {
	slices.SortStableFunc(p.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(p.files[a.File], p.files[b.File]), cmp.Compare(a.Line, b.Line))
	})
	return p.list
}

// oneLine keeps control characters of a file out of the terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

// readFile reads a file that at refers to, and tells why it cannot.
func (p *problems) readFile(at place, path string) ([]byte, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		p.errorf(at, "cannot read the file: %v", err)
		return nil, false
	}
	return data, true
}
