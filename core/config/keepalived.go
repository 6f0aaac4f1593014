package config

import (
	"strings"
	"unicode"

	"github.com/poise-lb/poise/core/model"
)

// keepalived reads a keepalived.conf into a draft.
type keepalived struct {
	*draft
	defaults vrrpDefaults
	// groups and instances in the order of the file; they are joined at its end.
	order     []string
	instances map[string]*instance
	syncs     []syncGroup
	sync      *syncDaemon
	// tls and what follows hold for the checks of the whole file.
	tls            clientTLS
	scripts        scriptUser
	scriptSecurity bool
	files          map[string]*trackFile
	sessions       map[string]*bfdInstance
	// unverified and insecure are the files that were warned of an SSL_GET, a script.
	unverified, insecure map[string]bool
}

// syncGroup is a vrrp_sync_group.
type syncGroup struct {
	place
	name    string
	members []string
}

// loadKeepalived reads a keepalived.conf; at is what asks for it.
func loadKeepalived(d *draft, at place, path string) {
	s := &scanner{problems: &d.problems, configID: d.options.ConfigID, definitions: map[string]*definition{}}
	s.file(at, path)
	k := &keepalived{
		draft: d, defaults: newVRRPDefaults(), instances: map[string]*instance{},
		files: map[string]*trackFile{}, sessions: map[string]*bfdInstance{},
		unverified: map[string]bool{}, insecure: map[string]bool{},
	}
	statements := parse(&d.problems, s.tokens)
	k.forAll(statements)
	k.each(atRoot, statements, func(t *statement) {
		switch t.keyword() {
		case "virtual_server":
			k.virtualServer(t)
		case "vrrp_sync_group":
			k.syncGroup(t)
		case "vrrp_instance":
			k.instance(t)
		}
	})
	k.unwatched()
	k.joinGroups()
	k.joinSync()
}

// forAll reads the blocks that hold for the whole file, wherever they stand.
func (k *keepalived) forAll(statements []*statement) {
	for _, t := range statements {
		if !t.block {
			continue
		}
		switch t.keyword() {
		case "global_defs":
			k.globalDefs(t)
			t.next = len(t.words)
		case "SSL":
			k.ssl(t)
		case "track_file", "vrrp_track_file":
			k.trackFile(t)
		case "bfd_instance":
			k.bfdInstance(t)
		}
	}
}

// each gives the statements of a block that poise has built to read, and tells of
// the others.
func (k *keepalived) each(c context, body []*statement, read func(*statement)) {
	for _, t := range body {
		w, ok := keywords[c][t.keyword()]
		switch {
		case !ok:
			k.unknown(c, t)
		case w.status == unbuilt:
			k.errorf(t.place, "%s %s is not built yet: remove it, or keep this director on keepalived", t.keyword(), c)
		case w.status == unused:
			k.warnf(t.place, "%s %s is not used by poise: remove it", t.keyword(), c)
		case w.block && !t.block:
			k.errorf(t.place, "%s has no { }: write its settings in braces", t.name())
		case !w.block && t.block:
			k.errorf(t.place, "%s takes no { }: remove them, or look for a missing } above", t.keyword())
		default:
			read(t)
			k.extra(t)
		}
	}
}

// extra warns of the words that nobody reads, which keepalived drops without a word.
func (k *keepalived) extra(t *statement) {
	if t.next >= len(t.words) {
		return
	}
	if t.keyword() == "auth_pass" {
		k.warnf(t.place, "extra words after auth_pass are ignored: put a password with blanks in double quotes")
		return
	}
	k.warnf(t.place, "extra words after %s are ignored: %s; write one keyword per line",
		strings.Join(t.words[:t.next], " "), strings.Join(t.words[t.next:], " "))
}

// unknown tells of a keyword that does not stand in this context. Its statement is
// skipped with all its block. Inside what is served or fails over an unknown block
// is an error: nobody can tell what service would be left without it.
func (k *keepalived) unknown(c context, t *statement) {
	if t.keyword() == "{" {
		return
	}
	// What is behind an = may be a secret.
	word, _, _ := strings.Cut(t.keyword(), "=")
	hint := meant(word, c.names())
	if word != "" && strings.ContainsFunc(word, func(r rune) bool { return r > 0x7f && unicode.IsSpace(r) }) {
		hint = "; it holds a blank that is none for keepalived: write an ASCII one"
	}
	other, elsewhere := home(word, c)
	if elsewhere {
		hint = "; it belongs " + other.String()
	}
	switch {
	case t.block && c != atRoot && c != inGlobalDefs:
		k.errorf(t.place, "unknown block %s %s%s", word, c, hint)
	case t.block && elsewhere && other != atRoot:
		k.errorf(t.place, "%s does not stand %s%s: is there a } too many above?", word, c, hint)
	default:
		k.warnf(t.place, "unknown keyword %s %s is skipped%s", word, c, hint)
	}
}

func (k *keepalived) globalDefs(t *statement) {
	k.each(inGlobalDefs, t.body, func(t *statement) {
		switch t.keyword() {
		case "router_id":
			k.config.RouterID, _ = k.word(t)
		case "default_interface":
			k.defaults.device, _ = k.word(t)
		case "lvs_sync_daemon":
			k.syncDaemon(t)
		case "script_user":
			k.scripts = k.user(t)
		case "enable_script_security":
			k.scriptSecurity = true
			if t.more() {
				k.security(t)
			}
		case "vrrp_version":
			k.version(t)
		case "vrrp_min_garp":
			if k.boolean(t) {
				k.defaults.garpRepeat, k.defaults.garpDelay = 1, 0
			}
		case "vrrp_down_timer_adverts":
			set(&k.defaults.downTimerAdverts, k, t, 1, 100)
		case "vrrp_garp_master_delay":
			k.seconds(t, &k.defaults.garpDelay)
		case "vrrp_garp_master_repeat":
			k.garpRepeats(t, &k.defaults.garpRepeat)
		case "vrrp_garp_master_refresh":
			k.seconds(t, &k.defaults.garpRefresh)
		}
	})
}

// security reads what follows enable_script_security. keepalived 2.2 does not look at it,
// later ones know on and off.
func (k *keepalived) security(t *statement) {
	switch w, _ := k.word(t); w {
	case "on", "true", "yes":
	case "off", "false", "no":
		k.scriptSecurity = false
	default:
		k.warnf(t.place, "enable_script_security %s: it is on; write on or off", w)
	}
}

// syncGroup reads the names of a sync group's members, which may share a line.
func (k *keepalived) syncGroup(t *statement) {
	name, ok := k.word(t)
	if !ok {
		return
	}
	g := syncGroup{place: t.place, name: name}
	k.each(inSyncGroup, t.body, func(t *statement) {
		for _, line := range t.body {
			g.members = append(g.members, line.words...)
			if line.block {
				k.errorf(line.place, "%s takes no { }: a group lists the names of its instances", line.keyword())
			}
		}
	})
	if len(g.members) == 0 {
		k.warnf(t.place, "vrrp_sync_group %s has no members: it is left out", name)
		return
	}
	k.syncs = append(k.syncs, g)
	k.order = append(k.order, "")
}

// joinGroups makes failover groups: of each sync group, and of each instance that is
// in none.
func (k *keepalived) joinGroups() {
	next := 0
	grouped := map[string]string{}
	for _, g := range k.syncs {
		for _, m := range g.members {
			if other, ok := grouped[m]; ok && k.instances[m] != nil {
				k.errorf(g.place, "vrrp_instance %s is in the sync groups %s and %s: it can follow one only", m, other, g.name)
			}
			grouped[m] = g.name
		}
	}
	for _, name := range k.order {
		if name != "" {
			if i := k.instances[name]; grouped[name] == "" {
				k.addGroup(groupPlace{i.at, []place{i.at}}, model.FailoverGroup{Name: name, Instances: []model.Instance{i.Instance}})
			}
			continue
		}
		g := k.syncs[next]
		next++
		at, group := groupPlace{place: g.place}, model.FailoverGroup{Name: g.name}
		for _, m := range g.members {
			i, ok := k.instances[m]
			if !ok {
				k.warnf(g.place, "vrrp_sync_group %s names the instance %s, which does not exist: it is left out%s", g.name, m, meant(m, k.instanceNames()))
				continue
			}
			at.instances = append(at.instances, i.at)
			group.Instances = append(group.Instances, i.Instance)
		}
		if len(group.Instances) > 0 {
			k.addGroup(at, group)
		}
	}
}

func (k *keepalived) instanceNames() []string {
	var out []string
	for _, name := range k.order {
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}
