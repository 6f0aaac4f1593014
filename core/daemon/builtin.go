package daemon

import (
	"slices"
	"time"

	"github.com/poise-lb/poise/core/model"
)

// process is what one plugin process needs. ARCHITECTURE.md has the same table; a
// test compares the two.
type process struct {
	name         string
	capabilities []string
	// user it runs as; empty: the default.
	user string
	// survives: lives on for the grace time when the daemon is gone.
	survives bool
	// nice is its scheduling priority: a director under load must not lose its role for it.
	nice int
}

var builtin = []process{
	{name: checkersProcess},
	{name: privilegedProcess, capabilities: []string{"NET_ADMIN", "NET_RAW"}},
	// The first three run scripts as their users and end them. The others are the scripts'
	// own: as root they are used to reading everybody's files, to ip, ipvsadm and ping, and
	// a program with a file capability is not even started where that may not be had.
	{name: scriptProcess, user: "root", capabilities: []string{"SETUID", "SETGID", "KILL", "DAC_OVERRIDE", "NET_ADMIN", "NET_RAW"}},
	{name: bfdProcess},
	{name: "ipvs", capabilities: []string{"NET_ADMIN"}},
	{name: "vrrp", capabilities: []string{"NET_ADMIN", "NET_RAW"}, survives: true, nice: -10},
	{name: "null"},
}

// instanceProcesses are the processes of appliances by the type of the forwarder.
var instanceProcesses = map[string]process{
	// Root's own file of credentials is read without a capability.
	"f5": {user: "root"},
}

// instanceProcess is that of an appliance.
func instanceProcess(f model.ForwarderInstance) process {
	p := instanceProcesses[f.Type]
	p.name = f.Process()
	return p
}

const (
	checkersProcess = "checkers"
	// privilegedProcess has the same checks as checkers, for those that mark their packets,
	// and the ones that always need a capability.
	privilegedProcess = "checkers-net"
	scriptProcess     = "script"
	bfdProcess        = "bfd"
	failoverProcess   = "vrrp"
	// beatInterval and beatTimeout: a process that stops is noticed within 5 s.
	beatInterval = time.Second
	beatTimeout  = 4 * time.Second
	// startTimeout is how long somebody waits for plugins: systemd for the table, a reload
	// for what they say of it. The start of a process may take longer on a busy machine.
	startTimeout = 10 * time.Second
)

// builtinProcess is one of poise's own.
func builtinProcess(name string) process {
	return builtin[slices.IndexFunc(builtin, func(p process) bool { return p.name == name })]
}

// needed are the processes that a configuration needs, in the order they are started.
// leftovers says that the table may hold what an earlier configuration made.
func needed(c *model.Config, known *catalog, leftovers bool) []process {
	var out []process
	checks := checkProcesses(c, known)
	for _, p := range builtin {
		switch p.name {
		case checkersProcess, privilegedProcess, scriptProcess, bfdProcess:
			if checks[p.name] {
				out = append(out, p)
			}
		case failoverProcess:
			if len(c.FailoverGroups) > 0 {
				out = append(out, p)
			}
		case c.Forwarder:
			if needsForwarder(c) || leftovers {
				out = append(out, p)
			}
		}
	}
	for _, f := range c.Forwarders {
		out = append(out, instanceProcess(f))
	}
	for _, p := range c.Plugins {
		if !isBuiltin(p.Name) && instanceOf(c, p.Name) == nil {
			out = append(out, processNamed(c, p.Name))
		}
	}
	return out
}

// instanceOf is the appliance whose process has a name; nil: none has.
func instanceOf(c *model.Config, name string) *model.ForwarderInstance {
	for i := range c.Forwarders {
		if c.Forwarders[i].Process() == name {
			return &c.Forwarders[i]
		}
	}
	return nil
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(builtin, func(p process) bool { return p.name == name })
}

// builtinChecks are poise's own types of checks with the process that probes them.
var builtinChecks = map[string]string{
	"tcp": checkersProcess, "http": checkersProcess, "ssl": checkersProcess, "smtp": checkersProcess,
	"dns": checkersProcess, "udp": checkersProcess, "grpc": checkersProcess, "agent": checkersProcess,
	"ping": privilegedProcess, "misc": scriptProcess, "file": scriptProcess, "bfd": bfdProcess,
}

// processOf names the process that probes a check; empty for a type that is not poise's
// own.
func processOf(c *model.Check) string {
	name := builtinChecks[c.Type]
	if name == checkersProcess && c.Target.FWMark != 0 {
		return privilegedProcess
	}
	return name
}

// processNamed is one of poise's own, an appliance's, or the operator's, which has nothing by
// default.
func processNamed(c *model.Config, name string) process {
	if isBuiltin(name) {
		return builtinProcess(name)
	}
	if f := instanceOf(c, name); f != nil {
		return instanceProcess(*f)
	}
	return process{name: name}
}

func builtinNames() []string {
	out := make([]string, len(builtin))
	for i, p := range builtin {
		out[i] = p.name
	}
	return out
}

// checkProcesses are the names of the processes that the checks of a configuration need.
func checkProcesses(c *model.Config, known *catalog) map[string]bool {
	out := map[string]bool{}
	for _, v := range c.VirtualServers {
		for _, r := range v.RealServers {
			for i := range r.Checks {
				out[known.processOf(&r.Checks[i])] = true
			}
		}
	}
	return out
}

// failoverBeat is how often a failover process has to beat, and when it is taken for
// stalled: late enough not to be fooled by one late beat, early enough that its
// replacement sends the next advert before a peer takes over after three.
func failoverBeat(c *model.Config) (interval, timeout time.Duration) {
	shortest := time.Duration(0)
	for _, g := range c.FailoverGroups {
		for _, i := range g.Instances {
			if shortest == 0 || i.AdvertInterval < shortest {
				shortest = i.AdvertInterval
			}
		}
	}
	if shortest == 0 {
		return beatInterval, beatTimeout
	}
	return shortest / 4, shortest + shortest/4
}

// restartBackoff bounds the configured back-off while a failover group needs its
// processes.
func restartBackoff(c *model.Config) (least, most time.Duration) {
	least, most = c.Restart.Min, c.Restart.Max
	if len(c.FailoverGroups) > 0 {
		most = min(most, model.MaxRestartWithFailover)
		least = min(least, most)
	}
	return least, most
}

// settings are what the configuration says of a process.
func settings(c *model.Config, name string) model.Plugin {
	out := model.Plugin{Name: name}
	for _, p := range c.Plugins {
		if p.Name == name {
			out = p
		}
	}
	if f := instanceOf(c, name); f != nil {
		out.Parameters = f.Parameters
	}
	return out
}

// needsForwarder says that the forwarder of the director itself has something to hold.
func needsForwarder(c *model.Config) bool {
	return c.ConnectionSync != nil || slices.ContainsFunc(c.VirtualServers, func(v model.VirtualServer) bool {
		return len(v.Carriers) == 0 || slices.ContainsFunc(v.Carriers, func(k model.Carrier) bool { return k.Forwarder == c.Forwarder })
	})
}

func beatOf(c *model.Config, name string) (interval, timeout time.Duration) {
	if name == failoverProcess {
		return failoverBeat(c)
	}
	return beatInterval, beatTimeout
}
