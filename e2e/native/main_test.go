package native

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/poise-lb/poise/e2e/lab"
)

func TestMain(m *testing.M) {
	lab.RunRole()
	status, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "native:", err)
		status = 1
	}
	os.Exit(status)
}

func run(m *testing.M) (int, error) {
	if why := missing(); why != "" {
		fmt.Println("directors in network namespaces need", why)
		if os.Getenv("CI") == "true" {
			return 1, nil
		}
		fmt.Println("SKIP")
		return 0, nil
	}
	root, err := lab.Root()
	if err != nil {
		return 0, err
	}
	unlock, err := lab.Lock(context.Background(), root)
	if err != nil {
		return 0, err
	}
	defer unlock()
	var flags []string
	if _, err := exec.LookPath("gcc"); err == nil {
		flags = append(flags, "-race")
	}
	bin, err := lab.Build(context.Background(), root, flags...)
	if err != nil {
		return 0, err
	}
	if err := os.Setenv("POISE_E2E_BIN", bin); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func missing() string {
	if os.Geteuid() != 0 {
		return "root's rights"
	}
	for program, pkg := range map[string]string{"ip": "iproute2", "keepalived": "keepalived"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Sprintf("%s (apt-get install %s)", program, pkg)
		}
	}
	return ""
}
