package ltm_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poise-lb/poise/e2e/bigip"
	"github.com/poise-lb/poise/plugins/forwarders/f5/ltm"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// unit is the simulator, which knows more rules of a device than the model of these tests.
type unit struct {
	testing.TB
	*bigip.Unit
	client *http.Client
}

func startUnit(t testing.TB, unverified bigip.Unverified) unit {
	t.Helper()
	u := bigip.New(bigip.Options{Partitions: []string{"P"}, Unverified: unverified})
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(u.CA())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return unit{t, u, &http.Client{Transport: transport}}
}

func (u unit) send(verb, path, transaction string, body any) (int, []byte) {
	u.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		u.Fatal(err)
	}
	if verb == "GET" || verb == "DELETE" {
		raw = nil
	}
	r, err := http.NewRequestWithContext(u.Context(), verb, u.URL()+path, bytes.NewReader(raw))
	if err != nil {
		u.Fatal(err)
	}
	r.SetBasicAuth("admin", "admin")
	r.Header.Set("Content-Type", "application/json")
	if transaction != "" {
		r.Header.Set("X-F5-REST-Coordination-Id", transaction)
	}
	answer, err := u.client.Do(r)
	if err != nil {
		u.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		u.Fatal(err)
	}
	return answer.StatusCode, text
}

func (u unit) state(domain int) ltm.State {
	u.Helper()
	s := ltm.State{Partition: "P", DefaultDomain: domain}
	for _, kind := range ltm.Kinds() {
		path := kind.Collection() + "?$filter=partition+eq+P"
		if kind.Expanded() {
			path += "&expandSubcollections=true"
		}
		status, body := u.send("GET", path, "", nil)
		if status != 200 {
			u.Fatalf("GET %s: %d %s", path, status, body)
		}
		if err := s.Add(kind, body); err != nil {
			u.Fatal(err)
		}
	}
	return s
}

func (u unit) settle(w ltm.Wanted) {
	u.Helper()
	plan := ltm.Diff(u.state(w.Options.DefaultDomain), w)
	for _, t := range plan.Transactions {
		_, body := u.send("POST", "/mgmt/tm/transaction", "", map[string]any{})
		var tx struct {
			ID json.Number `json:"transId"`
		}
		if err := json.Unmarshal(body, &tx); err != nil {
			u.Fatalf("%v: %s", err, body)
		}
		for _, c := range t.Commands() {
			if status, body := u.send(c.Verb, c.Path, tx.ID.String(), c.Body); status != 200 {
				u.Fatalf("%s %s %v: %d %s", c.Verb, c.Path, c.Body, status, body)
			}
		}
		if status, body := u.send("PATCH", "/mgmt/tm/transaction/"+tx.ID.String(), "", map[string]any{"state": "VALIDATING"}); status != 200 {
			u.Fatalf("commit: %d %s\n%+v", status, body, t.Commands())
		}
	}
	if plan := ltm.Diff(u.state(w.Options.DefaultDomain), w); plan.Count() > 0 || len(plan.Refusals) > 0 {
		u.Fatalf("not settled: %+v", plan)
	}
}

// variety has a virtual server of every mapping.
func variety() []*forwardv1.VirtualServer {
	var out []*forwardv1.VirtualServer
	near := []byte(`{"approximate":["sed","nq","sh","mh","ovf","ops","persistence_port_0"],"mirror":true,"connection_limit":9,"scale_weights":true}`)
	for i, scheduler := range []string{"rr", "wrr", "lc", "wlc", "fo", "sed", "nq", "sh", "mh", "ovf"} {
		v := service(fmt.Sprintf("192.0.2.%d", i+1), 80, server("10.0.0.1", 8080, 3), server("10.0.0.2", 8080, 0), server("10.0.0.3", 8080, 70000), server("10.0.0.4", 8080, 1))
		v.Scheduler, v.ParametersJson = scheduler, near
		v.RealServers[2].Offline, v.RealServers[3].Sorry = true, true
		v.RealServers[0].UpperThreshold = 12
		out = append(out, v)
	}
	for i, method := range []forwardv1.Method{forwardv1.Method_METHOD_DR, forwardv1.Method_METHOD_TUN} {
		v := service("2001:db8::1", uint32(i+443), server("2001:db8::a", uint32(i+443), 1))
		v.Key.Protocol, v.RealServers[0].Method = forwardv1.Protocol_PROTOCOL_UDP, method
		v.PersistenceTimeout, v.PersistencePrefix, v.ParametersJson = durationpb.New(60e9), 64, []byte(`{"same_address":true}`)
		out = append(out, v)
	}
	gre := service("192.0.2.30", 80, server("10.0.0.1", 80, 1))
	gre.RealServers[0].Method, gre.RealServers[0].TunnelType = forwardv1.Method_METHOD_TUN, forwardv1.TunnelType_TUNNEL_TYPE_GRE
	ops := service("192.0.2.31", 53, server("10.0.0.1", 53, 1))
	ops.Key.Protocol, ops.OnePacket, ops.ParametersJson = forwardv1.Protocol_PROTOCOL_UDP, true, near
	all := service("192.0.2.32", 0, server("10.0.0.1", 0, 1))
	all.PersistenceTimeout, all.ParametersJson = durationpb.New(60e9), near
	return append(out, gre, ops, all)
}

// TestSimulator: every mapping is accepted, reads back as it was wanted, changes into
// every other, and goes without a trace, whatever the device does with what is not known
// of it.
func TestSimulator(t *testing.T) {
	for _, unverified := range []bigip.Unverified{{}, {KeepOmittedMemberFields: true}} {
		u := startUnit(t, unverified)
		before := u.state(0)
		u.settle(want(t, variety()...))
		changed := variety()
		for i, v := range changed[:10] {
			v.Scheduler = changed[(i+3)%10].Scheduler
			v.ParametersJson = []byte(`{"approximate":["sed","nq","sh","mh","ovf"],"snat":"automap","same_address":true,"scale_weights":true}`)
			v.RealServers = append(v.RealServers[:1], server("10.0.0.9", 8080, 2))
		}
		changed[10].PersistenceTimeout, changed[10].ParametersJson, changed[11].ParametersJson = nil, nil, nil
		changed[12].RealServers[0].TunnelType = forwardv1.TunnelType_TUNNEL_TYPE_IPIP
		u.settle(want(t, changed...))
		u.settle(want(t, changed[5:]...))
		u.settle(want(t, variety()...))
		u.settle(ltm.Wanted{Options: options})
		equal(t, fmt.Sprintf("%+v", u.state(0)), fmt.Sprintf("%+v", before))
	}
}

func TestSimulatorRouteDomain(t *testing.T) {
	u := startUnit(t, bigip.Unverified{})
	if status, body := u.send("POST", "/mgmt/tm/net/route-domain", "", map[string]any{"name": "ten", "id": 10}); status != 200 {
		t.Fatalf("the simulator makes no route domain: %d %s", status, body)
	}
	o := options
	o.RouteDomain = 10
	w, refused := ltm.Want(variety(), o)
	for _, r := range refused {
		if !r.Warning {
			t.Fatal(r)
		}
	}
	u.settle(w)
	u.settle(ltm.Wanted{Options: o})
}
