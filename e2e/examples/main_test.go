package examples

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// root is the repository; bin has poised, poise and poise-plugin of it.
var root, bin string

func TestMain(m *testing.M) {
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "examples:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (int, error) {
	if why := missing(); why != "" {
		fmt.Println("examples against real servers need", why)
		if os.Getenv("CI") == "true" {
			return 1, nil
		}
		fmt.Println("SKIP")
		return 0, nil
	}
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return 0, fmt.Errorf("find the repository: %w", err)
	}
	root = filepath.Dir(strings.TrimSpace(string(out)))
	dir, err := os.MkdirTemp("", "poise-examples-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin = filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-o", bin+"/", "./cmd/...")
	build.Dir = root
	if text, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build poise: %w\n%s", err, text)
	}
	// The plugins of poise are run by a user that has to get there.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func missing() string {
	if os.Geteuid() != 0 {
		return "root's rights"
	}
	for program, pkg := range map[string]string{
		"redis-server": "redis-server", "mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server", "protoc": "protobuf-compiler",
	} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("%s (apt-get install %s)", program, pkg)
		}
	}
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").Run(); err != nil {
		return "gRPC for Python (apt-get install python3-grpcio python3-protobuf)"
	}
	return ""
}

// must runs a command in a directory and gives what it said.
func must(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	const patience = 3 * time.Minute
	for end := time.Now().Add(patience); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s have passed, and not: %s", patience, what)
		}
	}
}

// trustedDir is a directory that only root can write to, all the way up, and everybody can
// read: what plugins have to be in.
func trustedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/opt", "poise-examples-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// buildRedis builds the example as an outsider would: the module by itself, with poise from
// elsewhere.
func buildRedis(t *testing.T, into string) (source, plugin string) {
	t.Helper()
	source = filepath.Join(t.TempDir(), "checker-redis")
	must(t, root, "cp", "-r", filepath.Join(root, "examples", "checker-redis"), source)
	must(t, source, "go", "mod", "edit", "-replace", "github.com/poise-lb/poise="+root)
	plugin = filepath.Join(into, "poise-check-redis")
	must(t, source, "go", "build", "-o", plugin, ".")
	return source, plugin
}

// installMySQL installs the example in Python.
func installMySQL(t *testing.T, into string) string {
	t.Helper()
	from := filepath.Join(root, "examples", "checker-mysql-py")
	for _, f := range []string{"mysql.py", "poise_plugin.py", "poise_schedule.py", "poise"} {
		must(t, root, "cp", "-r", filepath.Join(from, f), into)
	}
	must(t, into, "chmod", "-R", "u=rwX,go=rX", into)
	return filepath.Join(into, "mysql.py")
}
