package f5

import (
	"os"
	"strings"
	"testing"
)

// TestImportRoundTrip: what poise f5 import writes of poise's own objects is a configuration
// with which nothing is to change, whatever else is on the BIG-IP; of foreign ones it is a
// configuration too.
func TestImportRoundTrip(t *testing.T) {
	s := newScene(t)
	s.both()
	out, code := s.poise("f5", "import", "lab", "-O", s.importFile())
	if code != 0 || !strings.Contains(out, "written, with") || !strings.Contains(out, "note: /lab/foreign-pool: the slow ramp") {
		t.Fatalf("poise f5 import: exit status %d\n%s", code, out)
	}
	if out, code := s.poise("f5", "import", "lab", "-O", s.importFile()); code == 0 {
		t.Errorf("a file that is there is written over\n%s", out)
	}
	if out, code := s.program("poised", "-t", "-f", s.importFile()); code != 0 {
		t.Errorf("poised -t of the import: exit status %d\n%s", code, out)
	}
	imported, err := os.ReadFile(s.importFile())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(imported), "of the test") {
		t.Errorf("the import tells the password:\n%s", imported)
	}

	// Of the foreign virtual server there is no second one on its address: poise says so and
	// leaves it alone. Without it the configuration is what is there.
	before := text(t, made(t, s.unit))
	s.reload(string(imported))
	waitFor(t, "poise says what is in its way", func() bool {
		out, _ := s.poise("status")
		return strings.Contains(out, "/lab/foreign-virtual, which is not ours")
	})
	own := without(t, string(imported), "198.18.0.4:80")
	s.unit.ClearRequests()
	s.reload(own)
	waitFor(t, "the configuration of the import is in force", s.settled)
	out, code = s.poise("diff", "f5:lab")
	if code != 0 || !strings.Contains(out, "f5:lab: as it should be, 1 foreign left alone") || strings.Count(out, "\n") != 3 {
		t.Errorf("poise diff with the import: exit status %d\n%s", code, out)
	}
	for _, r := range s.unit.Requests() {
		if r.Write() && strings.HasPrefix(r.Kind, "ltm/") {
			t.Errorf("the import was to change nothing: %s %s %s", r.Method, r.Path, r.Body)
		}
	}
	if got := text(t, made(t, s.unit)); got != before {
		t.Errorf("with the import the BIG-IP has\n%s\nand had\n%s", got, before)
	}

	// Another partition, where all is somebody else's.
	out, code = s.poise("f5", "import", "f5:lab", "--partition", "Common")
	if code != 0 || !strings.Contains(out, "address: 198.18.1.4:80") || strings.Contains(out, onBigIP) {
		t.Errorf("poise f5 import of Common: exit status %d\n%s", code, out)
	}
	var yaml strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "note: ") {
			yaml.WriteString(line)
		}
	}
	s.write("common.yaml", yaml.String())
	if out, code := s.program("poised", "-t", "-f", s.file("common.yaml")); code != 0 {
		t.Errorf("poised -t of the import of Common: exit status %d\n%s\n%s", code, out, yaml.String())
	}
}

// without takes one virtual server out of a configuration that poise has written.
func without(t *testing.T, yaml, address string) string {
	t.Helper()
	const first = "\n  - address: "
	at := strings.Index(yaml, first+address+"\n")
	if at < 0 {
		t.Fatalf("%s is not in\n%s", address, yaml)
	}
	end := strings.Index(yaml[at+1:], first)
	if end < 0 {
		return yaml[:at+1]
	}
	return yaml[:at] + yaml[at+1+end:]
}
