package ipvs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inLab is set for the tests that TestInUML runs inside user-mode Linux.
const inLab = "POISE_IPVS_LAB"

// lab skips a test that needs a kernel of its own.
func lab(tb testing.TB) {
	tb.Helper()
	if os.Getenv(inLab) == "" {
		tb.Skip("needs a kernel of its own: TestInUML runs it in user-mode Linux")
	}
}

// initScript is the first and only process of the user-mode Linux: the root file system
// is the machine's, read-only, with memory mounted where the tests write.
const initScript = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/run %[1]s=1 MODULES=/run/mod
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/mod/lib/modules /run/tmp
export TMPDIR=/run/tmp
ln -s /usr/lib/uml/modules/$(uname -r) /run/mod/lib/modules/$(uname -r)
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/mod "$@"\n' > /run/modprobe
chmod +x /run/modprobe
cp %[2]s/ipvs.test /run/ipvs.test
modprobe -d /run/mod dummy
ip link set lo up
%[3]s
echo "lab exit $?"
poweroff -f
`

// bootLab runs shell commands in user-mode Linux, with the tests of this package as
// /run/ipvs.test, and gives the console's lines.
func bootLab(t *testing.T, commands string, timeout time.Duration) []string {
	t.Helper()
	uml, err := exec.LookPath("linux.uml")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("linux.uml is missing: apt-get install user-mode-linux")
		}
		t.Skip("linux.uml is missing: apt-get install user-mode-linux")
	}
	dir := t.TempDir()
	build := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "ipvs.test"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests: %v\n%s", err, out)
	}
	init := filepath.Join(dir, "init.sh")
	if err := os.WriteFile(init, fmt.Appendf(nil, initScript, inLab, dir, commands), 0o755); err != nil {
		t.Fatal(err)
	}
	console, err := os.Create(filepath.Join(dir, "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, uml, "quiet", "mem=768M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/",
		"ro", "init="+init, "con=null", "con0=fd:0,fd:1")
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	content, readErr := os.ReadFile(console.Name())
	if readErr != nil {
		t.Fatal(readErr)
	}
	text := strings.ReplaceAll(string(content), "\r", "")
	if ctx.Err() != nil {
		t.Fatalf("user-mode Linux did not end within %v:\n%s", timeout, text)
	}
	if !strings.Contains(text, "lab exit ") {
		t.Fatalf("user-mode Linux ended early: %v\n%s", err, text)
	}
	return strings.Split(text, "\n")
}

// TestInUML runs every test whose name begins with TestKernel on a real IPVS kernel, and
// reports each as a subtest.
func TestInUML(t *testing.T) {
	if os.Getenv(inLab) != "" {
		t.Skip("this is the lab")
	}
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	lines := bootLab(t, `/run/ipvs.test -test.v -test.run='^TestKernelModules$'
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/ipvs.test -test.v -test.timeout=150s -test.run=^TestKernel -test.skip='^TestKernelModules$'`, 180*time.Second)
	results, output := results(lines)
	for _, name := range labTests(t) {
		t.Run(name, func(t *testing.T) {
			switch results[name] {
			case "PASS":
				t.Log(strings.Join(output[name], "\n"))
			case "":
				t.Errorf("did not end; console:\n%s", strings.Join(lines, "\n"))
			default:
				t.Errorf("%s\n%s", results[name], strings.Join(output[name], "\n"))
			}
		})
	}
}

// TestBenchInUML prints what docs/performance.md quotes.
func TestBenchInUML(t *testing.T) {
	if os.Getenv("POISE_IPVS_BENCH") == "" || os.Getenv(inLab) != "" {
		t.Skip("set POISE_IPVS_BENCH=1 to measure")
	}
	for _, line := range bootLab(t, `echo /run/modprobe >/proc/sys/kernel/modprobe
/run/ipvs.test -test.run='^$' -test.bench=Kernel -test.benchtime=3x`, 10*time.Minute) {
		t.Log(line)
	}
}

var (
	resultLine = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	startLine  = regexp.MustCompile(`^=== RUN\s+(\S+)`)
)

// results gives the verdict of each test, and the lines of each top-level one.
func results(lines []string) (verdict map[string]string, output map[string][]string) {
	verdict, output = map[string]string{}, map[string][]string{}
	current := ""
	for _, line := range lines {
		if m := startLine.FindStringSubmatch(line); m != nil {
			current, _, _ = strings.Cut(m[1], "/")
			continue
		}
		if m := resultLine.FindStringSubmatch(line); m != nil {
			verdict[m[2]] = m[1]
		}
		output[current] = append(output[current], line)
	}
	return verdict, output
}

// labTests lists the tests that have to run, from the source, so that none is forgotten.
func labTests(t *testing.T) []string {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	function := regexp.MustCompile(`^func (TestKernel\w*)\(`)
	var names []string
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		for scanner := bufio.NewScanner(f); scanner.Scan(); {
			if m := function.FindStringSubmatch(scanner.Text()); m != nil {
				names = append(names, m[1])
			}
		}
		f.Close()
	}
	if len(names) == 0 {
		t.Fatal("no test begins with TestKernel")
	}
	return names
}
