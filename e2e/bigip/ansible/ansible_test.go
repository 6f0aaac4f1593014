package ansible

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/e2e/bigip"
	"github.com/poise-lb/poise/e2e/lab"
)

// interpreter is Debian's: the collection's modules need its packages.
const interpreter = "/usr/bin/python3"

// missing says why there can be no run.
func missing() string {
	if os.Geteuid() != 0 {
		return "root's rights"
	}
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		return "ansible (apt-get install ansible)"
	}
	if found, _ := filepath.Glob("/usr/lib/python3/dist-packages/ansible_collections/f5networks/f5_modules"); len(found) == 0 {
		return "the collection f5networks.f5_modules of Debian's package ansible"
	}
	return ""
}

// alone waits for labs to end: they run ahead of everything else, and playbooks take all
// the processors that there are.
func alone(t *testing.T) {
	t.Helper()
	root, err := lab.Root()
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := lab.Lock(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
}

// apart puts the goroutine into a network namespace of its own, with a loopback.
// Processes that it starts are in it too.
func apart(t *testing.T) {
	t.Helper()
	// The thread is not let go, and ends with the goroutine.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Attrs().Name != "lo" && l.Attrs().Flags&net.FlagUp != 0 {
			t.Fatalf("the namespace has %s", l.Attrs().Name)
		}
	}
}

// playbook is a run of ansible-playbook.
type playbook struct {
	*exec.Cmd
	name     string
	out, err bytes.Buffer
}

func start(t *testing.T, u *bigip.Unit, name string) *playbook {
	t.Helper()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, u.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(u.Addr())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	vars, err := json.Marshal(map[string]any{
		"ansible_connection": "local", "ansible_python_interpreter": interpreter,
		"provider": map[string]any{
			"server": host, "server_port": number, "user": "admin", "password": "admin",
			"validate_certs": true, "no_f5_teem": true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &playbook{name: name, Cmd: exec.CommandContext(t.Context(), "ansible-playbook", "-i", "localhost,", "-e", string(vars), "play.yml")}
	p.Dir = filepath.Join("testdata", name)
	p.Stdout, p.Stderr = &p.out, &p.err
	p.Env = append(os.Environ(),
		"HOME="+dir, "ANSIBLE_HOME="+dir, "ANSIBLE_LOCAL_TEMP="+dir, "ANSIBLE_REMOTE_TMP="+dir,
		"ANSIBLE_STDOUT_CALLBACK=ansible.posix.json", "ANSIBLE_PIPELINING=true", "F5_TELEMETRY_OFF=true",
		// Every request reads the authorities: one instead of all of the system's saves
		// most of the time.
		"SSL_CERT_FILE="+ca, "SSL_CERT_DIR="+dir,
	)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

type report struct {
	Plays []struct {
		Play  struct{ Name string }
		Tasks []struct {
			Task  struct{ Name string }
			Hosts map[string]struct {
				Changed, Failed bool
				Msg             any
			}
		}
	}
}

// check looks at each task of a run: changed the first time, and not the second.
func (p *playbook) check(t *testing.T, plays, tasks int) {
	t.Helper()
	failed := p.Wait()
	var r report
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v: %v\n%s%s", p.name, err, failed, p.out.Bytes(), p.err.Bytes())
	}
	seen := 0
	for _, play := range r.Plays {
		want := strings.HasSuffix(play.Play.Name, "first time")
		for _, task := range play.Tasks {
			result, ran := task.Hosts["localhost"]
			seen++
			switch {
			case !ran:
				t.Errorf("%s, %s, %s: did not run", p.name, play.Play.Name, task.Task.Name)
			case result.Failed:
				t.Errorf("%s, %s, %s: %v", p.name, play.Play.Name, task.Task.Name, result.Msg)
			case result.Changed != want:
				t.Errorf("%s, %s, %s: changed %v, want %v", p.name, play.Play.Name, task.Task.Name, result.Changed, want)
			}
		}
	}
	if failed != nil || len(r.Plays) != plays || seen != tasks {
		t.Errorf("%s: %v, %d plays, %d tasks, want %d and %d\n%s", p.name, failed, len(r.Plays), seen, plays, tasks, p.err.Bytes())
	}
}

// TestCollection runs both playbooks at once: they have a partition each.
func TestCollection(t *testing.T) {
	if why := missing(); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("takes ", why)
		}
		t.Skip("takes ", why)
	}
	alone(t)
	apart(t)
	u := bigip.New(bigip.Options{Partitions: []string{"virtuals"}})
	u.AddForeign("Common", "virtuals")
	foreign := u.Foreign()
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	began := time.Now()
	pools, virtuals := start(t, u, "pools"), start(t, u, "virtuals")
	pools.check(t, 6, 2*(6+6+4))
	virtuals.check(t, 6, 2*(6+6+6))
	t.Logf("%d requests in %s", len(u.Requests()), time.Since(began).Round(time.Second))

	if got := u.Foreign(); !bytes.Equal(got, foreign) {
		t.Errorf("foreign objects changed:\n%s\nwant\n%s", got, foreign)
	}
	offline := 0
	for _, r := range u.Requests() {
		if r.Status >= 500 || r.Status == 400 || r.Status == 401 {
			t.Errorf("%s %s: %d", r.Method, r.Path, r.Status)
		}
		if r.Kind == "ltm/pool/members" && strings.Contains(string(r.Body), `"user-down"`) {
			offline++
		}
	}
	if offline != 2 {
		t.Errorf("%d members were forced offline, want 2", offline)
	}
	for _, kind := range []string{"monitor/tcp", "pool", "snatpool", "virtual", "profile/fastl4", "profile/udp", "persistence/source-addr"} {
		for _, o := range items(t, u, "ltm/"+kind) {
			partition, _ := o["partition"].(string)
			name, _ := o["name"].(string)
			if partition != "Common" && !strings.HasPrefix(name, "foreign") {
				t.Errorf("%s %v is left", kind, o["fullPath"])
			}
		}
	}
}

func items(t *testing.T, u *bigip.Unit, path string) []map[string]any {
	t.Helper()
	body, err := u.Apply("GET", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	list, _ := body["items"].([]any)
	for _, item := range list {
		out = append(out, item.(map[string]any))
	}
	return out
}
