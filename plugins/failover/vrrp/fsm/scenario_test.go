package fsm

import (
	"bufio"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the scenarios do into their files")

// TestScenarios runs testdata/*.txtar: "script" is what happens to a group, "want" what
// it does. Lines of a script:
//
//	instance NAME [priority=N] [interval=D] [down=N] [nopreempt] [delay=D] [repeat=N] [second=D] [refresh=D]
//	start [adopt] [fault=TEXT]   with the fault at the first instance
//	at TIME                      runs the timers until then
//	heard NAME ADDRESS PRIORITY
//	fault NAME TEXT…, fault NAME (over)
//	lost NAME, priority NAME N, withdraw
//	stall TIME                   the clock goes on to TIME and no timer runs
//
// Every instance's own address is 192.0.2.1.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 || archive.Files[0].Name != "script" || archive.Files[1].Name != "want" {
				t.Fatalf("%s does not hold script and want", file)
			}
			got := play(t, string(archive.Files[0].Data))
			if *update {
				archive.Files[1].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := string(archive.Files[1].Data); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// epoch keeps the times of scenarios away from 0, which means "not set".
const epoch = time.Hour

var own = netip.MustParseAddr("192.0.2.1")

func defaults(name string) Settings {
	return Settings{Name: name, Priority: 100, Interval: time.Second, DownAdverts: 3, Repeat: 1}
}

type player struct {
	t        *testing.T
	settings []Settings
	group    *Group
	now      Time
	out      strings.Builder
}

func play(t *testing.T, script string) string {
	p := &player{t: t, now: epoch}
	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 && fields[0] != "#" {
			p.line(fields)
		}
	}
	if p.group.Gone() {
		p.print("gone")
	}
	return p.out.String()
}

func (p *player) line(f []string) {
	switch f[0] {
	case "instance":
		p.settings = append(p.settings, p.parse(f[1:]))
	case "start":
		p.group = New(p.settings)
		e := Start{}
		for i := range p.settings {
			e.Links = append(e.Links, Link{Instance: i, Source: own})
		}
		for j, word := range f[1:] {
			if fault, ok := strings.CutPrefix(word, "fault="); ok {
				e.Links[0].Fault = strings.Join(append([]string{fault}, f[j+2:]...), " ")
				break
			}
			e.Adopt = word == "adopt"
		}
		p.step(e)
	case "at":
		p.until(epoch + p.duration(f[1]))
	case "stall":
		p.now = epoch + p.duration(f[1])
	case "heard":
		priority, err := strconv.ParseUint(f[3], 10, 8)
		if err != nil {
			p.t.Fatal(err)
		}
		p.step(Heard{Instance: p.index(f[1]), Source: netip.MustParseAddr(f[2]), Priority: uint8(priority)})
	case "fault":
		p.step(Link{Instance: p.index(f[1]), Source: own, Fault: strings.Join(f[2:], " ")})
	case "lost":
		p.step(AddressLost{p.index(f[1])})
	case "priority":
		n, err := strconv.ParseUint(f[2], 10, 8)
		if err != nil {
			p.t.Fatal(err)
		}
		p.settings[p.index(f[1])].Priority = uint8(n)
		p.step(Configure{append([]Settings(nil), p.settings...)})
	case "withdraw":
		p.step(Withdraw{"stopped"})
	default:
		p.t.Fatalf("no such line in scripts: %v", f)
	}
}

func (p *player) parse(words []string) Settings {
	s := defaults(words[0])
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "priority":
			n, _ := strconv.Atoi(value)
			s.Priority = uint8(n)
		case "down":
			s.DownAdverts, _ = strconv.Atoi(value)
		case "repeat":
			s.Repeat, _ = strconv.Atoi(value)
		case "nopreempt":
			s.NoPreempt = true
		case "interval":
			s.Interval = p.duration(value)
		case "delay":
			s.PreemptDelay = p.duration(value)
		case "second":
			s.Delay = p.duration(value)
		case "refresh":
			s.Refresh = p.duration(value)
		default:
			p.t.Fatalf("no such setting in scripts: %s", word)
		}
	}
	return s
}

func (p *player) duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

func (p *player) index(name string) int {
	for i, s := range p.settings {
		if s.Name == name {
			return i
		}
	}
	p.t.Fatalf("no instance %q in the script", name)
	return 0
}

// until runs the timers up to a time.
func (p *player) until(end Time) {
	for next := p.group.Next(); next != 0 && next <= end; next = p.group.Next() {
		p.now = max(p.now, next)
		p.step(Timer{})
		if again := p.group.Next(); again != 0 && again <= p.now {
			p.t.Fatalf("a timer at %s asks for one at %s", p.now, again)
		}
	}
	p.now = end
}

func (p *player) step(e Event) {
	for _, a := range p.group.Step(p.now, e) {
		name := p.settings[a.Instance].Name
		switch a.Kind {
		case SendAdvert:
			p.print("%s advert %d", name, a.Priority)
		case AddAddresses:
			p.print("%s add", name)
		case RemoveAddresses:
			p.print("%s remove", name)
		case Announce:
			p.print("%s announce", name)
		case ChangeRole:
			p.print("role %s: %s", a.Role, a.Reason)
		case Warn:
			p.print("%s warn: %s", name, a.Reason)
		}
	}
}

func (p *player) print(format string, args ...any) {
	fmt.Fprintf(&p.out, "%8.3f %s\n", (p.now - epoch).Seconds(), fmt.Sprintf(format, args...))
}
