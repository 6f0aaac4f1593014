package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// director is a daemon that runs in the test, with directories that its plugins reach.
type director struct {
	controlv1.ControlServiceClient
	dir, config string
}

// trustedDir is one where only root can write, so that a daemon of root's trusts it.
func trustedDir(t *testing.T) string {
	t.Helper()
	parent := ""
	if os.Geteuid() == 0 {
		parent = "/run"
	}
	dir, err := os.MkdirTemp(parent, "poise-daemon")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// executableIn copies the test binary, with a tail that makes it another one.
func executableIn(t *testing.T, dir, name, tail string) (path, sum string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, tail...)
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(data)
	return path, hex.EncodeToString(hash[:])
}

func startDirector(t *testing.T, dir, text string) *director {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &director{dir: dir, config: filepath.Join(dir, "poise.yaml")}
	d.write(t, text)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{ConfigFile: d.config, StateDir: filepath.Join(dir, "state"), RuntimeDir: filepath.Join(dir, "run"), PluginFile: self, LogLevel: "warn"})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v", err)
		}
	})
	conn, err := grpc.NewClient("passthrough:///control", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, "run", "control.sock"))
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d.ControlServiceClient = controlv1.NewControlServiceClient(conn)
	eventually(t, "the daemon answers", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the daemon did not start: %v", err)
		default:
		}
		_, err := d.Status(t.Context(), &controlv1.StatusRequest{})
		return err == nil
	})
	return d
}

func (d *director) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(d.config, []byte("forwarder: \"null\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (d *director) reload(t *testing.T, text string) error {
	t.Helper()
	d.write(t, text)
	_, err := d.Reload(t.Context(), &controlv1.ReloadRequest{})
	return err
}

func (d *director) status(t *testing.T) *controlv1.StatusResponse {
	t.Helper()
	s, err := d.Status(t.Context(), &controlv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *director) plugin(t *testing.T, name string) *controlv1.Plugin {
	t.Helper()
	for _, p := range d.status(t).GetPlugins() {
		if p.GetName() == name {
			return p
		}
	}
	return nil
}

// verdicts are "192.0.2.1:80 down as told" of the first virtual server.
func (d *director) verdicts(t *testing.T) string {
	t.Helper()
	var out []string
	for _, v := range d.status(t).GetVirtualServers() {
		for _, r := range v.GetRealServers() {
			out = append(out, strings.TrimSpace(r.GetName()+" "+r.GetVerdict()+" "+r.GetReason()))
		}
		break
	}
	return strings.Join(out, ", ")
}

// set is what a process was last sent.
func (d *director) set(name string) string {
	text, _ := os.ReadFile(filepath.Join(d.dir, "run", "plugins", name, "set"))
	return string(text)
}

// patience is for machines that others share: what is waited for takes a second.
const patience = time.Minute

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
