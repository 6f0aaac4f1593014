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
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/poise-lb/poise/e2e/bigip"
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

// Need skips the test where there can be no run; in CI there has to be one.
func Need(t *testing.T) {
	t.Helper()
	if why := missing(); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("takes ", why)
		}
		t.Skip("takes ", why)
	}
}

// Apart puts the goroutine into a network namespace of its own, with a loopback.
// Processes that it starts are in it too.
func Apart(t *testing.T) {
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

// Playbook is a run of ansible-playbook.
type Playbook struct {
	*exec.Cmd
	name     string
	out, err bytes.Buffer
}

// Start starts a playbook against a unit, with the variable provider that all modules of the
// collection take.
func Start(t *testing.T, u *bigip.Unit, file string, flags ...string) *Playbook {
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
	args := append([]string{"-i", "localhost,", "-e", string(vars), filepath.Base(file)}, flags...)
	p := &Playbook{name: file, Cmd: exec.CommandContext(t.Context(), "ansible-playbook", args...)}
	p.Dir = filepath.Dir(file)
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

// Report is what a playbook tells of each task.
type Report struct {
	Plays []struct {
		Play  struct{ Name string }
		Tasks []struct {
			Task  struct{ Name string }
			Hosts map[string]Result
		}
	}
}

// Result of a task on a host.
type Result struct {
	Changed, Failed bool
	Msg             any
	// Raw is all that the module said.
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps what it reads.
func (r *Result) UnmarshalJSON(text []byte) error {
	type plain Result
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	r.Raw = append(json.RawMessage(nil), text...)
	return nil
}

// Report waits for the playbook to end, and gives what it told.
func (p *Playbook) Report(t *testing.T) Report {
	t.Helper()
	failed := p.Wait()
	var r Report
	if err := json.Unmarshal(p.out.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v: %v\n%s%s", p.name, err, failed, p.out.Bytes(), p.err.Bytes())
	}
	if failed != nil {
		t.Errorf("%s: %v\n%s", p.name, failed, p.err.Bytes())
	}
	return r
}
