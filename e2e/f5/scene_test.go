package f5

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
)

const (
	// partition is poise's on the BIG-IP.
	partition = "lab"
	// onDirector and onBigIP are the addresses of the virtual server.
	onDirector, onBigIP = "192.0.2.100", "192.0.2.200"
	// serviceName is the virtual server, pool its name on the BIG-IP.
	serviceName = "TCP " + onDirector + ":80"
	pool        = "poise_tcp_" + onBigIP + "_80"
)

// real is a real server: its own address, and a listener that is probed in its place.
type real struct {
	t       *testing.T
	address string
	at      string
	probes  atomic.Int64
	// first is when the first probe came, in nanoseconds.
	first atomic.Int64

	mu       sync.Mutex
	listener net.Listener
}

func newReal(t *testing.T, address string) *real {
	r := &real{t: t, address: address, at: "127.0.0.1:0"}
	r.up()
	t.Cleanup(r.down)
	return r
}

func (r *real) port() string {
	_, port, _ := net.SplitHostPort(r.at)
	return port
}

func (r *real) up() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		return
	}
	l, err := net.Listen("tcp", r.at)
	if err != nil {
		r.t.Errorf("listen as %s: %v", r.address, err)
		return
	}
	r.listener, r.at = l, l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.first.CompareAndSwap(0, time.Now().UnixNano())
			r.probes.Add(1)
			go answer(c)
		}
	}()
}

// answer is that of a web server with nothing to say; a tcp check does not wait for it.
func answer(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Read(make([]byte, 1024)); err == nil {
		_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
}

func (r *real) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		_ = r.listener.Close()
		r.listener = nil
	}
}

// scene is a BIG-IP with foreign objects, real servers, and the configuration of a director.
type scene struct {
	t     *testing.T
	unit  *bigip.Unit
	reals []*real
	*poised
	foreign []byte
	// check is the type of the checks, schedule when they are made.
	check, schedule string
}

// newScene has two real servers, and poised is not started.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, check: "tcp", schedule: "interval: 100ms, timeout: 1s, retries: 0, warmup: 0s"}
	s.unit = bigip.New(bigip.Options{Partitions: []string{partition}, Users: map[string]string{"admin": "admin", "poise": "of the test"}})
	s.unit.AddForeign(partition, "Common")
	s.foreign = s.unit.Foreign()
	if err := s.unit.Start(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if got := s.unit.Foreign(); !bytes.Equal(got, s.foreign) {
			t.Errorf("foreign objects changed:\n%s\nwant\n%s", got, s.foreign)
		}
		if err := s.unit.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range 2 {
		s.reals = append(s.reals, newReal(t, fmt.Sprintf("10.0.0.%d", i+1)))
	}
	s.poised = newPoised(t, "")
	s.write("password", "of the test\n")
	s.write("ca.pem", string(s.unit.CA()))
	return s
}

// head is what is at the top of a configuration, before the virtual servers; more is added
// to the instance.
func (s *scene) head(more string) string {
	return fmt.Sprintf(`forwarder: "null"
reconcile_interval: 500ms
restart: {min: 10ms, max: 20ms}
forwarders:
  lab: {type: f5, addresses: ["%s"], partition: %s, username: poise, password_file: password, ca: ca.pem, save_interval: 1s, stats_interval: 500ms%s}
`, s.unit.Addr(), partition, more)
}

// members are the real servers in YAML.
func (s *scene) members() string {
	var b strings.Builder
	for _, r := range s.reals {
		fmt.Fprintf(&b, "      - {address: %s, weight: 10, checks: {type: %s, address: 127.0.0.1, port: %s, %s}}\n", r.address, s.check, r.port(), s.schedule)
	}
	return b.String()
}

// service is a virtual server in YAML.
func (s *scene) service(address, forwarders, f5 string) string {
	text := fmt.Sprintf("  - address: \"%s\"\n    scheduler: wrr\n    forwarding: DR\n    forwarders: [%s]\n", address, forwarders)
	if f5 != "" {
		text += "    f5: {" + f5 + "}\n"
	}
	return text + "    real_servers:\n" + s.members()
}

// hybrid is the configuration of a virtual server on the director and on the BIG-IP.
func (s *scene) hybrid() string {
	return s.head("") + "virtual_servers:\n" + s.service(onDirector+":80", `"null", "f5:lab"`, "address: "+onBigIP)
}

// both starts poised with the hybrid configuration and waits until it is in force.
func (s *scene) both() {
	s.t.Helper()
	s.configure(s.hybrid())
	s.start()
	waitFor(s.t, "the virtual server is on both, with all real servers", func() bool {
		return s.settled() && s.enabled(pool, 0) && s.enabled(pool, 1)
	})
}

// member reads a member of a pool; nil: it is not there.
func (s *scene) member(pool string, i int) map[string]any {
	body, err := s.unit.Apply("GET", fmt.Sprintf("ltm/pool/~%s~%s/members/~%s~%s:80", partition, pool, partition, s.reals[i].address), nil)
	if err != nil {
		return nil
	}
	return body
}

// enabled says that a member takes connections, offline that it is forced offline.
func (s *scene) enabled(pool string, i int) bool {
	m := s.member(pool, i)
	return m != nil && m["session"] != "user-disabled" && m["state"] != "user-down"
}

func (s *scene) offline(pool string, i int) bool {
	m := s.member(pool, i)
	return m != nil && m["session"] == "user-disabled" && m["state"] == "user-down"
}

// kinds are those of what poise makes.
var kinds = []string{"pool", "virtual", "virtual-address", "persistence/source-addr", "profile/fastl4", "profile/udp", "node"}

// made is what is in poise's partition and not foreign, by kind and path, without what tells
// when and how often it was written.
func made(t *testing.T, u *bigip.Unit) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, kind := range kinds {
		body := u.Must("GET", "ltm/"+kind+"?expandSubcollections=true", nil)
		list, _ := body["items"].([]any)
		for _, item := range list {
			o := item.(map[string]any)
			path, _ := o["fullPath"].(string)
			if o["partition"] != partition || bytes.Contains(u.Foreign(), []byte(`"`+path+`"`)) {
				continue
			}
			timeless(o)
			out[kind+" "+path] = o
		}
	}
	return out
}

// timeless takes out of a body what every write changes, and numbers that the device gives.
func timeless(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range []string{"generation", "creationTime", "lastModifiedTime", "selfLink", "vsIndex"} {
			delete(v, k)
		}
		for _, x := range v {
			timeless(x)
		}
	case []any:
		for _, x := range v {
			timeless(x)
		}
	}
}

// text of what was made, to compare.
func text(t *testing.T, objects map[string]map[string]any) string {
	t.Helper()
	b, err := json.MarshalIndent(objects, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// importFile is where an import goes.
func (s *scene) importFile() string { return filepath.Join(s.dir, "imported.yaml") }

// serviceOnBigIP is the virtual server's name there.
const serviceOnBigIP = "TCP " + onBigIP + ":80"

// readOnly has a BIG-IP refuse every commit, and take nothing of it.
var readOnly = bigip.Fault{Kind: bigip.RefuseCommit, Message: "the disk is full"}
