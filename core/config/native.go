package config

import (
	"bytes"
	"errors"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/knadh/koanf/parsers/json"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
)

// delimiter joins keys inside koanf. No key holds it: it is no UTF-8, and keys that
// are none are refused.
const delimiter = "\xff"

// format is one of the languages of poise's own files.
type format struct {
	parser koanf.Parser
	// positions gives the line of every value by its JSON pointer, and what the parser
	// does not refuse and we do: keys that stand twice, second documents.
	positions func(data []byte) (lines map[string]int, problems []lineError, err error)
}

// lineError is an error with its line.
type lineError struct {
	line    int
	message string
}

func (e lineError) Error() string { return e.message }

var formats = map[string]format{
	".yaml": {yaml.Parser(), yamlPositions},
	".yml":  {yaml.Parser(), yamlPositions},
	".toml": {toml.Parser(), tomlPositions},
	".json": {json.Parser(), jsonPositions},
}

// native is a file of poise's own format while it is read.
type native struct {
	*draft
	path  string
	lines map[string]int
	// checks are the definitions, by name.
	checks map[string]*checkDefinition
}

func loadNative(d *draft, path, extension string) {
	data, ok := d.readFile(place{path, 1}, path)
	if !ok {
		return
	}
	d.seen(path)
	readNative(d, path, extension, data)
}

func readNative(d *draft, path, extension string, data []byte) {
	f := formats[extension]
	// The second look comes first: its errors have lines.
	lines, found, err := f.positions(data)
	// YAML has more characters that end a line than editors show.
	last := bytes.Count(data, []byte("\n")) + 1
	for p, l := range lines {
		lines[p] = min(l, last)
	}
	for _, p := range found {
		d.errorf(place{path, min(p.line, last)}, "%s", p.message)
	}
	k := koanf.New(delimiter)
	if err == nil {
		err = k.Load(rawbytes.Provider(data), f.parser)
	}
	if err != nil {
		d.errorf(place{path, min(lineOf(err), last)}, "cannot read the file as %s: %s", extension[1:], bare(err))
		return
	}
	if len(found) > 0 {
		return
	}
	n := &native{draft: d, path: path, lines: lines, checks: map[string]*checkDefinition{}}
	n.root(node{n: n, value: k.Raw()})
}

var (
	yamlLine   = regexp.MustCompile(`line ([0-9]+)`)
	yamlPrefix = regexp.MustCompile(`^(yaml|toml): |(unmarshal errors:\s+)?line [0-9]+: `)
)

// lineOf is the line that a parser's error tells of.
func lineOf(err error) int {
	var at lineError
	if errors.As(err, &at) {
		return at.line
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if l, err := strconv.Atoi(m[1]); err == nil {
			return max(l, 1)
		}
	}
	return 1
}

// bare is a parser's error without what FILE:LINE tells already.
func bare(err error) string { return yamlPrefix.ReplaceAllString(err.Error(), "") }

// root reads the whole file.
func (n *native) root(top node) {
	o, ok := top.object()
	if !ok {
		return
	}
	// The keepalived.conf first: what stands here adds to it.
	if f, ok := o.get("keepalived"); ok {
		n.include(f)
	}
	n.settings(o)
	n.forwarders(o)
	n.definitions(o)
	for _, v := range o.list("virtual_servers") {
		n.virtualServer(v)
	}
	for _, c := range o.list("carry") {
		n.carry(c)
	}
	for _, g := range o.list("failover_groups") {
		n.failoverGroup(g)
	}
	if s, ok := o.get("connection_sync"); ok {
		n.connectionSync(s)
	}
	o.done()
	n.unusedChecks()
}

// include reads the keepalived.conf that the file names, relative to itself.
func (n *native) include(f node) {
	name, ok := f.text()
	if !ok {
		return
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(filepath.Dir(n.path), name)
	}
	if _, ok := formats[filepath.Ext(name)]; ok {
		f.errorf("keepalived names %s, which is not a keepalived.conf by its ending", name)
		return
	}
	loadKeepalived(n.draft, f.place(), name)
}

// settings reads what is poise's own.
func (n *native) settings(o *object) {
	c := &n.config
	o.string("router_id", &c.RouterID)
	f, ok := o.get("forwarder")
	if _, there := o.values["forwarder"]; there && !ok {
		f.errorf(`forwarder is empty: write ipvs, or "null" in quotes`)
	}
	if ok {
		if s, ok := f.text(); ok {
			c.Forwarder = s
			if s != "ipvs" && s != "null" {
				f.errorf("unknown forwarder %s: it is ipvs or null (appliances are defined in forwarders)", s)
			}
		}
	}
	o.duration("grace_time", &c.GraceTime, 0)
	o.duration("reconcile_interval", &c.ReconcileInterval, 1)
	if m, ok := o.object("metrics"); ok {
		if a, ok := m.get("address"); ok {
			if e, ok := a.endpoint(true); ok {
				c.MetricsAddress = e
			}
		}
		m.done()
	}
	if r, ok := o.object("restart"); ok {
		r.duration("min", &c.Restart.Min, 1)
		r.duration("max", &c.Restart.Max, 1)
		if c.Restart.Min > c.Restart.Max {
			r.errorf("restart: min %s is more than max %s", c.Restart.Min, c.Restart.Max)
		}
		r.done()
	}
	n.plugins(o)
}

// place of a value, or of the nearest one around it that has one.
func (n *native) placeOf(pointer string) place {
	for p := pointer; ; {
		if l, ok := n.lines[p]; ok {
			return place{n.path, l}
		}
		if p == "" {
			return place{n.path, 1}
		}
		p = parent(p)
	}
}
