package config

import (
	"net/netip"
	"slices"
	"time"
)

// trackFile is a root block track_file: a file with a number.
type trackFile struct {
	path      string
	weight    int64
	reverse   bool
	init      *int64
	overwrite bool
	used      bool
	at        place
}

// Bounds of weights: of a track_file, and where a FILE_CHECK sets one.
const (
	maxTrackWeight = 254
	maxFileWeight  = 1<<31 - 1
)

func (k *keepalived) trackFile(t *statement) {
	if t.keyword() == "vrrp_track_file" {
		k.warnf(t.place, "vrrp_track_file is the old spelling of track_file: write track_file")
	}
	name, named := k.word(t)
	f := &trackFile{weight: 1, at: t.place}
	k.each(inTrackFile, t.body, func(t *statement) {
		switch t.keyword() {
		case "file":
			f.path, _ = k.text(t)
		case "weight":
			k.trackWeight(t, maxTrackWeight, &f.weight, &f.reverse)
		case "init_file":
			f.initial(k, t)
		}
	})
	switch other := k.files[name]; {
	case !named:
	case other != nil:
		k.warnf(t.place, "track_file %s is there already (%s:%d): this one is left out, as in keepalived", name, other.at.file, other.at.line)
	case f.path == "":
		k.warnf(t.place, "track_file %s has no file: it is left out, as in keepalived; write file PATH", name)
	default:
		k.files[name] = f
	}
}

// trackWeight reads WEIGHT [reverse|noreverse].
func (k *keepalived) trackWeight(t *statement, most int64, weight *int64, reverse *bool) {
	n, ok := k.integer(t, -most, most)
	if !ok {
		t.next = len(t.words)
		return
	}
	*weight, *reverse = n, false
	if !t.more() {
		return
	}
	switch w, _ := k.word(t); w {
	case "reverse":
		*reverse = true
	case "noreverse":
	default:
		k.warnf(t.place, "unknown option %s of a weight is ignored: it is reverse or noreverse", w)
	}
}

// initial reads init_file [VALUE] [overwrite].
func (f *trackFile) initial(k *keepalived, t *statement) {
	f.init = new(int64)
	for t.more() {
		if t.words[t.next] == "overwrite" {
			t.next++
			f.overwrite = true
			continue
		}
		n, ok := k.integer(t, -1<<31, 1<<31-1)
		if !ok {
			t.next = len(t.words)
			return
		}
		*f.init = n
	}
}

// fileCheck is what only FILE_CHECK has.
type fileCheck struct {
	name    string
	weight  *int64
	reverse bool
}

func (f *fileCheck) keyword(c *checker, t *statement) {
	switch t.keyword() {
	case "track_file":
		f.name, _ = c.word(t)
		c.mark(t, "/path")
	case "weight":
		f.weight = new(int64)
		c.trackWeight(t, maxFileWeight, f.weight, &f.reverse)
		c.mark(t, "/weight")
		c.mark(t, "/reverse")
	}
}

func (f *fileCheck) finish(c *checker, of surroundings) bool {
	if f.name == "" {
		c.warnf(c.at, "FILE_CHECK names no track_file: it is left out, as in keepalived, and does not check real server %s; write track_file NAME", of.real.addr)
		return false
	}
	file := c.files[f.name]
	if file == nil {
		c.warnf(c.at, "FILE_CHECK names the track_file %s, which does not exist: it is left out, as in keepalived, and does not check real server %s%s", f.name, of.real.addr, meant(f.name, sortedKeys(c.files)))
		return false
	}
	file.used = true
	weight, reverse := file.weight, file.reverse
	if f.weight != nil {
		weight, reverse = *f.weight, f.reverse
	}
	p := c.parameters
	p["path"] = file.path
	if weight != 1 {
		p["weight"] = weight
	}
	if reverse {
		p["reverse"] = true
	}
	if file.init != nil {
		p["init"] = *file.init
	}
	if file.overwrite {
		p["overwrite"] = true
	}
	return true
}

// bfdInstance is a root block bfd_instance: a session with a neighbour.
type bfdInstance struct {
	at               place
	neighbour, local netip.Addr
	minRx, minTx     time.Duration
	idleTx           time.Duration
	multiplier       uint8
	ttl              *uint8
	maxHops          int64
	passive          bool
	multihop         bool
	vrrp, checker    bool
	used             bool
	// told: what is wrong with the neighbour is told already.
	told bool
}

// Defaults and bounds of a session.
const (
	defaultBFDInterval   = 10 * time.Millisecond
	defaultBFDIdle       = time.Second
	defaultBFDMultiplier = 5
	defaultTTL           = 255
	defaultHopLimit      = 64
	maxBFDInterval       = 4294967 * time.Millisecond
)

func (k *keepalived) bfdInstance(t *statement) {
	name, named := k.word(t)
	b := &bfdInstance{at: t.place, minRx: defaultBFDInterval, minTx: defaultBFDInterval, idleTx: defaultBFDIdle, multiplier: defaultBFDMultiplier}
	k.each(inBFDInstance, t.body, func(t *statement) { b.keyword(k, t) })
	switch other := k.sessions[name]; {
	case !named, b.told:
	case other != nil:
		k.warnf(t.place, "bfd_instance %s is there already (%s:%d): this one is left out", name, other.at.file, other.at.line)
	case !b.neighbour.IsValid():
		k.warnf(t.place, "bfd_instance %s has no neighbor_ip: it is left out, as in keepalived", name)
	case b.local.IsValid() && b.local.Is6() != b.neighbour.Is6():
		k.warnf(t.place, "source_ip %s of bfd_instance %s is not of the family of its neighbor_ip %s: it is left out, as in keepalived", b.local, name, b.neighbour)
	default:
		k.sessions[name] = b
	}
}

func (b *bfdInstance) keyword(k *keepalived, t *statement) {
	switch t.keyword() {
	case "neighbor_ip":
		var ok bool
		b.neighbour, ok = k.address(t)
		b.told = !ok
	case "source_ip":
		b.local, _ = k.address(t)
	case "min_rx":
		k.milliseconds(t, &b.minRx, time.Millisecond)
	case "min_tx":
		k.milliseconds(t, &b.minTx, time.Millisecond)
	case "idle_tx":
		k.milliseconds(t, &b.idleTx, time.Second)
	case "multiplier":
		set(&b.multiplier, k, t, 1, 255)
	case "passive":
		b.passive = true
	case "ttl", "hoplimit":
		give(&b.ttl, k, t, 1, 255)
	case "max_hops":
		if n, ok := k.integer(t, -1, 255); ok {
			b.maxHops = n
		}
	case "multihop":
		b.multihop = true
	case "weight":
		// What it does to a VRRP priority; tracking is refused where it stands.
		t.next = len(t.words)
	case "vrrp":
		b.vrrp = true
	case "checker":
		b.checker = true
	}
}

// milliseconds takes decimal milliseconds.
func (k *keepalived) milliseconds(t *statement, to *time.Duration, least time.Duration) {
	if d, ok := k.decimal(t, time.Millisecond, least, maxBFDInterval); ok {
		*to = d
	}
}

// bfdCheck is what only BFD_CHECK has.
type bfdCheck struct{ name string }

func (b *bfdCheck) keyword(c *checker, t *statement) {
	if t.keyword() == "name" {
		b.name, _ = c.word(t)
	}
}

func (b *bfdCheck) finish(c *checker, of surroundings) bool {
	s := c.sessions[b.name]
	switch {
	case b.name == "":
		c.warnf(c.at, "BFD_CHECK names no bfd_instance: it is left out, as in keepalived, and does not check real server %s; write name NAME", of.real.addr)
		return false
	case s == nil:
		c.warnf(c.at, "BFD_CHECK names the bfd_instance %s, which does not exist: it is left out, as in keepalived, and does not check real server %s%s", b.name, of.real.addr, meant(b.name, sortedKeys(c.sessions)))
		return false
	}
	s.used = true
	if s.vrrp && !s.checker {
		c.warnf(c.at, "bfd_instance %s is for VRRP only: the check is left out, as in keepalived, and does not check real server %s; write checker into the bfd_instance", b.name, of.real.addr)
		return false
	}
	c.target.Addr = netip.AddrPortFrom(s.neighbour, 0)
	c.source = s.local
	p := c.parameters
	for name, d := range map[string][2]time.Duration{
		"min_rx": {s.minRx, defaultBFDInterval}, "min_tx": {s.minTx, defaultBFDInterval}, "idle_tx": {s.idleTx, defaultBFDIdle},
	} {
		if d[0] != d[1] {
			p[name] = duration(d[0])
		}
	}
	if s.multiplier != defaultBFDMultiplier {
		p["multiplier"] = s.multiplier
	}
	ttl := uint8(defaultTTL)
	if s.neighbour.Is6() {
		ttl = defaultHopLimit
	}
	if ttl = value(s.ttl, ttl); ttl != defaultTTL {
		p["ttl"] = ttl
	}
	if s.maxHops < 0 || s.maxHops > int64(ttl) {
		c.warnf(s.at, "max_hops %d of bfd_instance %s is not in 0..%d, its ttl: it is set to that, as in keepalived", s.maxHops, b.name, ttl)
		s.maxHops = int64(ttl)
	}
	if s.maxHops != 0 {
		p["max_hops"] = s.maxHops
	}
	if s.passive {
		p["passive"] = true
	}
	if s.multihop {
		p["multihop"] = true
	}
	return true
}

// unwatched tells of blocks that no check names. A file is nothing to tell of: it is not
// watched for anybody. A session is, by its neighbour.
func (k *keepalived) unwatched() {
	for _, name := range sortedKeys(k.sessions) {
		if s := k.sessions[name]; !s.used {
			k.warnf(s.at, "no BFD_CHECK names bfd_instance %s: there is no session with %s, which keepalived would have", name, s.neighbour)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
