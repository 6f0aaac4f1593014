package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/lab"
)

// mistake is a change of the lab's configuration and what poised has to say of it.
type mistake struct {
	name, old, new string
	// line is the text that stands in the line that is named.
	line     string
	severity string
	// word is in the message.
	word   string
	status int
	strict int
}

var mistakes = []mistake{
	{"unknown keyword", "\tlb_algo rr\n", "\tlb_algoo rr\n\tlb_algo rr\n", "lb_algoo", "warning", "lb_algo", 0, 1},
	{"unknown block", "\t\tTCP_CHECK {\n", "\t\tFOO_CHECK {\n\t\t}\n\t\tTCP_CHECK {\n", "FOO_CHECK", "error", "FOO_CHECK", 1, 1},
	{"not built yet", "\t\tTCP_CHECK {\n", "\t\tHTTP_GET {\n\t\t}\n\t\tTCP_CHECK {\n", "HTTP_GET", "error", "HTTP_GET", 1, 1},
	{"port of 70000", "virtual_server 192.168.1.100 80", "virtual_server 192.168.1.100 70000", "70000", "error", "70000", 1, 1},
	{"no address", "real_server 192.168.1.106 80", "real_server 192.168.1.999 80", "192.168.1.999", "error", "192.168.1.999", 1, 1},
	{"unknown scheduler", "lb_algo rr", "lb_algo xyz", "xyz", "error", "xyz", 1, 1},
	{"no router id", "\tvirtual_router_id 51\n", "", "vrrp_instance http", "error", "virtual_router_id", 1, 1},
	{"an old word", "\t\t\tretry 1\n", "\t\t\tnb_get_retry 1\n", "nb_get_retry", "warning", "retry", 0, 1},
	{"a surplus brace", "global_defs {\n", "}\nglobal_defs {\n", "}", "error", "}", 1, 1},
}

// TestBadInput checks files as an operator does. It needs neither the interfaces of the
// file nor privileges.
func TestBadInput(t *testing.T) {
	l := lab.New(t, lab.DR, 2)
	good := l.Config(l.A).String()
	d := l.Director(l.Client, lab.Poised, good)
	if out, status := d.Test("-f", d.File); status != 0 || strings.Contains(out, "error") {
		t.Fatalf("a good file: status %d\n%s", status, out)
	}
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			text := strings.Replace(good, m.old, m.new, 1)
			if text == good {
				t.Fatalf("the configuration has no %q", m.old)
			}
			file := d.WriteFile("bad.conf", text)
			number := strings.Count(text[:strings.Index(text, m.line)], "\n") + 1
			out, status := d.Test("-f", file)
			if status != m.status {
				t.Errorf("status %d, want %d", status, m.status)
			}
			said(t, out, fmt.Sprintf("%s:%d: %s: ", file, number, m.severity), m.word)
			if _, status := d.Test("--strict", "-f", file); status != m.strict {
				t.Errorf("with --strict: status %d, want %d", status, m.strict)
			}
		})
	}
	t.Run("a missing brace", func(t *testing.T) {
		file := d.WriteFile("bad.conf", strings.TrimSuffix(good, "}\n"))
		out, status := d.Test("-f", file)
		if status != 1 {
			t.Errorf("status %d, want 1", status)
		}
		said(t, out, file+":", "}")
	})
	t.Run("a missing file", func(t *testing.T) {
		out, status := d.Test("-f", d.Dir+"/none.conf")
		if status != 1 {
			t.Errorf("status %d, want 1", status)
		}
		said(t, out, d.Dir+"/none.conf", "error")
	})
	t.Run("an unknown key in YAML", func(t *testing.T) {
		file := d.WriteFile("bad.yaml", "keepalived: keepalived.conf\ngrace_tine: 3s\n")
		out, status := d.Test("-f", file)
		if status != 1 {
			t.Errorf("status %d, want 1", status)
		}
		said(t, out, file+":2: error: ", "grace_tine")
	})
}

// said fails the test unless a line starts with start and has word.
func said(t *testing.T, out, start, word string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, start) && strings.Contains(line[len(start):], word) {
			return
		}
	}
	t.Errorf("no line starts with %q and has %q after it:\n%s", start, word, out)
}

// TestReload gives a running director a bad file, which changes nothing, and then a
// good one.
func TestReload(t *testing.T) {
	s := single(t)
	load := s.load()
	begun := time.Now()
	table := s.A.IPVS()
	good := s.Config(s.Lab.A)
	good.NoFailover = true

	for name, text := range map[string]string{
		"a bad address":   strings.Replace(good.String(), "real_server 192.168.1.106", "real_server 192.168.1.999", 1),
		"a missing brace": strings.TrimSuffix(good.String(), "}\n"),
		"an empty block":  "virtual_server 192.168.1.100 80 {\n",
	} {
		s.A.SetFile("keepalived.conf", text)
		logged := len(s.A.Log())
		s.A.Signal(syscall.SIGHUP)
		lab.Eventually(t, 5*time.Second, name+" is refused in status and log", func() (bool, string) {
			errs := s.A.Status().GetDaemon().GetReloadErrors()
			said := s.A.Log()[logged:]
			return len(errs) > 0 && strings.Contains(said, s.A.File+":"), fmt.Sprint(errs, "\n", said)
		})
		if got := s.A.IPVS(); got != table {
			t.Errorf("%s: the table is\n%swant\n%s", name, got, table)
		}
	}
	if out, status := s.A.Poise("status"); status != 0 || !strings.Contains(out, s.A.File+":") {
		t.Errorf("poise status after a refused reload: status %d, without the reason:\n%s", status, out)
	}

	s.A.SetFile("keepalived.conf", strings.Replace(good.String(), "weight 100", "weight 50", 1))
	s.A.Signal(syscall.SIGHUP)
	s.A.WaitIPVS(5*time.Second, strings.Replace(table, "192.168.1.106:80 -g -w 100", "192.168.1.106:80 -g -w 50", 1))
	if errs := s.A.Status().GetDaemon().GetReloadErrors(); len(errs) > 0 {
		t.Errorf("reload errors after a good reload: %v", errs)
	}
	s.served(load, begun, "reloads")
}
