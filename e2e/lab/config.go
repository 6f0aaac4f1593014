package lab

import (
	"fmt"
	"strings"
)

// Config is a director's configuration in keepalived's language, which both daemons
// read.
type Config struct {
	RouterID, State string
	Priority        int
	// Advert is the time between adverts, in seconds.
	Advert    int
	Method    Method
	Scheduler string
	// DelayLoop, ConnectTimeout, Retry and RetryDelay are of the checks, in seconds.
	DelayLoop, ConnectTimeout, Retry, RetryDelay int
	// RetryWord is "retry", or the "nb_get_retry" of older releases.
	RetryWord string
	// Reals are the addresses of the real servers.
	Reals []string
	// NoSync leaves connection sync out; NoServices the virtual server, NoFailover the
	// instances.
	NoSync, NoServices, NoFailover bool
}

// Config is the configuration of director A or B: the shape of the one that poise was
// made for, with checks fast enough for a test.
func (l *Lab) Config(h *Host) Config {
	c := Config{RouterID: "LVS_MASTER", State: "MASTER", Priority: 100, Advert: 1, Method: l.Method, Scheduler: "rr",
		DelayLoop: 1, ConnectTimeout: 1, Retry: 1, RetryDelay: 1, RetryWord: "retry"}
	if h == l.B {
		c.RouterID, c.State, c.Priority = "LVS_SLAVE", "BACKUP", 80
	}
	for _, r := range l.Reals {
		c.Reals = append(c.Reals, l.Address(r))
	}
	return c
}

// Seed is the same with the times of the original.
func (c Config) Seed() Config {
	c.DelayLoop, c.ConnectTimeout, c.Retry, c.RetryDelay, c.RetryWord = 6, 3, 3, 3, "nb_get_retry"
	return c
}

// String is the keepalived.conf.
func (c Config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n\trouter_id %s\n}\n\n", c.RouterID)
	if !c.NoFailover {
		c.failover(&b)
	}
	if !c.NoServices {
		c.services(&b)
	}
	return b.String()
}

func (c Config) failover(b *strings.Builder) {
	members := []string{"http"}
	if c.Method == NAT {
		members = append(members, "inside")
	}
	fmt.Fprintf(b, "vrrp_sync_group VGM {\n\tgroup {\n\t\t%s\n\t}\n}\n\n", strings.Join(members, "\n\t\t"))
	sync := "\tlvs_sync_daemon_interface eth0\n"
	if c.NoSync {
		sync = ""
	}
	c.instance(b, "http", "eth0", 51, VIP, sync)
	if c.Method == NAT {
		c.instance(b, "inside", "eth1", 52, Gateway, "")
	}
}

func (c Config) instance(b *strings.Builder, name, device string, id int, address, extra string) {
	fmt.Fprintf(b, `vrrp_instance %s {
	state %s
	interface %s
%s	virtual_router_id %d
	priority %d
	advert_int %d
	authentication {
		auth_type PASS
		auth_pass 1111
	}
	virtual_ipaddress {
		%s
	}
}

`, name, c.State, device, extra, id, c.Priority, c.Advert, address)
}

func (c Config) services(b *strings.Builder) {
	fmt.Fprintf(b, `virtual_server %s 80 {
	delay_loop %d
	lb_algo %s
	lb_kind %s
	protocol TCP
`, VIP, c.DelayLoop, c.Scheduler, c.Method)
	for _, r := range c.Reals {
		fmt.Fprintf(b, `
	real_server %s 80 {
		weight 100
		TCP_CHECK {
			connect_timeout %d
			%s %d
			delay_before_retry %d
			connect_port 80
		}
	}
`, r, c.ConnectTimeout, c.RetryWord, c.Retry, c.RetryDelay)
	}
	b.WriteString("}\n")
}
