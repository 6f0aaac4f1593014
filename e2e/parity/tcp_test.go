package parity

import "github.com/poise-lb/poise/e2e/fault"

var tcp = Set{Checker: "TCP_CHECK", Cases: []Case{
	{Name: "up", Kind: fault.TCP, Steps: "good*4", Want: "in"},
	{Name: "down, up", Kind: fault.TCP, Steps: "good*2 refuse*4 good*2", Want: "in out@4 in@7"},
	{Name: "down from the start", Kind: fault.TCP, Steps: "refuse*3 good*2", Want: "in out@1 in@4"},
	{Name: "alpha", Kind: fault.TCP, Steps: "refuse*2 good*2 refuse*2 good", Real: "alpha", Want: "out in@3 out@6 in@7"},
	{Name: "flapping", Kind: fault.TCP, Steps: "good refuse good refuse good refuse*2 good refuse good", Want: "in out@7 in@8"},
	{Name: "retry 0", Kind: fault.TCP, Steps: "good refuse good*2 refuse good", With: "retry 0", Want: "in out@2 in@3 out@5 in@6"},
	{Name: "retry 3", Kind: fault.TCP, Steps: "good refuse*3 good refuse*4 good", With: "retry 3", Want: "in out@9 in@10"},
	{Name: "inhibit_on_failure", Kind: fault.TCP, Steps: "good*2 refuse*3 good*2", Real: "inhibit_on_failure", Want: "in w=0@4 in@6"},
	{Name: "alpha, inhibit_on_failure", Kind: fault.TCP, Steps: "refuse*2 good*2", Real: "alpha\ninhibit_on_failure", Want: "w=0 in@3"},
	{Name: "half-open: SYNs dropped", Kind: fault.TCP, Steps: "good*2 drop*3 good*2", Want: "in out@4 in@6"},
	{Name: "half-open: gone after the handshake", Kind: fault.TCP, Steps: "good*2 halfopen*3 good", Want: "in"},
	{Name: "slow: the first SYN is lost", Kind: fault.TCP, Steps: "good late*3 good", Want: "in"},
	{Name: "slow, alpha", Kind: fault.TCP, Steps: "late*2 good", Real: "alpha", Want: "out in@1"},
	{Name: "never answering", Kind: fault.TCP, Steps: "good hang*4 good", Want: "in"},
	{Name: "reset", Kind: fault.TCP, Steps: "good reset*4 good", Want: "in"},
	{Name: "closed at once", Kind: fault.TCP, Steps: "good close*4 good", Want: "in"},
	{Name: "garbage", Kind: fault.TCP, Steps: "good garbage*4 good", Want: "in"},
	{Name: "refused and dropped in turn", Kind: fault.TCP, Steps: "good refuse drop refuse drop good*2", Want: "in out@3 in@6"},
	{Name: "IPv6", Kind: fault.TCP, Steps: "good*2 refuse*3 drop good*2", IPv6: true, Want: "in out@4 in@7"},
	{Name: "connect_port, bindto", Kind: fault.TCP, Steps: "good*2 refuse*2 good", Address: "192.168.1.107",
		With: "connect_ip " + real + "\nbindto 192.168.1.50", Want: "in out@4 in@5"},
	{Name: "two checkers", Kind: fault.TCP, Steps: "good*2 refuse*3 good*4",
		Check: "TCP_CHECK {\n}\nTCP_CHECK {\n connect_port PORT1\n delay_loop 30\n}\n", Ports: []fault.Port{{Kind: fault.TCP, Port: 1, Steps: "good"}},
		Want: "in out@4 in@6"},
}}
