// Command poise-plugin is poise's own plugins in one executable, which costs less
// memory than one each. The daemon starts it; the argument says which.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/poise-lb/poise/internal/version"
	"github.com/poise-lb/poise/plugins/checkers/agent"
	"github.com/poise-lb/poise/plugins/checkers/bfd"
	"github.com/poise-lb/poise/plugins/checkers/dns"
	"github.com/poise-lb/poise/plugins/checkers/file"
	"github.com/poise-lb/poise/plugins/checkers/grpc"
	"github.com/poise-lb/poise/plugins/checkers/http"
	"github.com/poise-lb/poise/plugins/checkers/misc"
	"github.com/poise-lb/poise/plugins/checkers/ping"
	"github.com/poise-lb/poise/plugins/checkers/smtp"
	"github.com/poise-lb/poise/plugins/checkers/ssl"
	"github.com/poise-lb/poise/plugins/checkers/tcp"
	"github.com/poise-lb/poise/plugins/checkers/udp"
	"github.com/poise-lb/poise/plugins/failover/vrrp"
	"github.com/poise-lb/poise/plugins/forwarders/f5"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs"
	"github.com/poise-lb/poise/plugins/forwarders/null"
	"github.com/poise-lb/poise/sdk"
)

// applet is one of the executable's plugins.
type applet struct {
	name, does string
	plugin     func() sdk.Plugin
}

var applets = []applet{
	{"checkers", "checks of real servers", func() sdk.Plugin {
		return sdk.Plugin{Checkers: checkers()}
	}},
	{"checkers-net", "checks of real servers that need a capability: ping, firewall marks", func() sdk.Plugin {
		all := checkers()
		all[ping.Type] = ping.New()
		return sdk.Plugin{Checkers: all}
	}},
	{"script", "checks by commands and files of the operator's", func() sdk.Plugin {
		return sdk.Plugin{Checkers: map[string]sdk.Checker{misc.Type: misc.New(), file.Type: file.New()}}
	}},
	{"bfd", "checks by BFD sessions", func() sdk.Plugin {
		return sdk.Plugin{Checkers: map[string]sdk.Checker{bfd.Type: bfd.New()}}
	}},
	{"ipvs", "forwarder of the kernel's virtual servers", func() sdk.Plugin {
		return sdk.Plugin{Forwarder: ipvs.New(), ForwarderType: "ipvs"}
	}},
	{"f5", "forwarder of F5 BIG-IP appliances", func() sdk.Plugin {
		return sdk.Plugin{Forwarder: f5.New(), ForwarderType: f5.Type}
	}},
	{"vrrp", "failover by VRRP", func() sdk.Plugin {
		return sdk.Plugin{Failover: vrrp.New(), FailoverType: "vrrp"}
	}},
	{"null", "forwarder without a data plane, for trials", func() sdk.Plugin {
		return sdk.Plugin{Forwarder: null.New(), ForwarderType: null.Type}
	}},
}

// checkers are the checks that need no capability.
func checkers() map[string]sdk.Checker {
	return map[string]sdk.Checker{
		agent.Type: agent.New(),
		dns.Type:   dns.New(),
		smtp.Type:  smtp.New(),
		ssl.Type:   ssl.New(),
		tcp.Type:   tcp.New(),
		udp.Type:   udp.New(),
		grpc.Type:  grpc.New(),
		http.Type:  http.New(),
	}
}

func main() {
	plugin, code := choose(os.Args[1:], os.Stdout, os.Stderr)
	if plugin == nil {
		os.Exit(code)
	}
	sdk.Serve(*plugin)
}

// choose finds the plugin that the arguments name; without one it has said all there
// is to say, and gives the exit code.
func choose(args []string, out, errs io.Writer) (*sdk.Plugin, int) {
	if len(args) != 1 {
		usage(errs)
		return nil, 2
	}
	switch args[0] {
	case "--version":
		fmt.Fprintln(out, "poise-plugin", version.Version)
		return nil, 0
	case "--help", "-h", "help":
		usage(out)
		return nil, 0
	}
	for _, a := range applets {
		if a.name == args[0] {
			p := a.plugin()
			p.Name, p.Version = a.name, version.Version
			return &p, 0
		}
	}
	fmt.Fprintf(errs, "poise-plugin: no plugin %q\n", args[0])
	usage(errs)
	return nil, 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "poise-plugin: poise's own plugins; poised starts them\n\nusage: poise-plugin PLUGIN | --version | --help\n\n")
	for _, a := range applets {
		fmt.Fprintf(w, "  %-10s %s\n", a.name, a.does)
	}
}
