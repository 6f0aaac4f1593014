package main

import (
	"fmt"
	"strings"
)

const (
	// maxReals is how many addresses the configuration has room for.
	maxReals = 60000
	// perBlock is how many addresses are used of one /24.
	perBlock = 250
)

// setting is one line of the table: what is checked, and how many of it.
type setting struct {
	kind                        string
	reals, perService, interval int
}

// config is the configuration of both daemons.
func (s setting) config() string {
	check := "\t\tTCP_CHECK {\n\t\t\tconnect_timeout 1\n\t\t\tretry 0\n\t\t\tconnect_port 80\n\t\t}\n"
	if s.kind == "http" {
		check = "\t\tHTTP_GET {\n\t\t\turl {\n\t\t\t\tpath /\n\t\t\t\tstatus_code 200\n\t\t\t}\n" +
			"\t\t\tconnect_timeout 1\n\t\t\tretry 0\n\t\t\tconnect_port 80\n\t\t}\n"
	}
	var b strings.Builder
	for i := range s.reals {
		if i%s.perService == 0 {
			if i > 0 {
				b.WriteString("}\n")
			}
			v := i / s.perService
			fmt.Fprintf(&b, "virtual_server 192.0.%d.%d 80 {\n\tdelay_loop %d\n\tlb_algo rr\n\tlb_kind NAT\n\tprotocol TCP\n",
				2+v/perBlock, 1+v%perBlock, s.interval)
		}
		fmt.Fprintf(&b, "\treal_server 127.1.%d.%d 80 {\n\t\tweight 1\n%s\t}\n", i/perBlock, 1+i%perBlock, check)
	}
	b.WriteString("}\n")
	return b.String()
}

// nginxConfig answers every request at once and logs nothing.
const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log stderr crit;
worker_processes 1;
events { worker_connections 8192; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen 0.0.0.0:80 backlog=8192;
		return 200 "ok\n";
	}
}
`
