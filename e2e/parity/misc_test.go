package parity

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poise-lb/poise/e2e/fault"
)

const (
	cannotRun = "a script that cannot be run is down, keepalived takes it for up"
	run       = "misc_path \"DIR/script DIR/PORT\"\n"
	misc      = "MISC_CHECK {\n" + run + "}\n"
)

var miscs = Set{Checker: "MISC_CHECK", Cases: []Case{
	{Name: "up", Kind: script, Check: misc, Steps: "0*4", Want: "in"},
	{Name: "down, up", Kind: script, Check: misc, Steps: "0*2 1*4 0*2", Want: twoUp},
	{Name: "flapping", Kind: script, Check: misc, Steps: "0 1 0 1 0 1*2 0", Want: "in out@7 in@8"},
	{Name: "retry 0 by default", Kind: script, Check: "MISC_CHECK {\n\t\t\tdelay_loop 2\n\t\t\t" + run + "\t\t}\n", Steps: "0 1 0 1*2 0", Want: "in out@2 in@3 out@4 in@6"},
	{Name: "exit 2 to 255", Kind: script, Check: misc, Steps: "0*2 2 255 100 0", Want: "in out@4 in@6"},
	{Name: "killed by a signal", Kind: script, Check: misc, Steps: "0*2 kill*3 0", Want: "in out@4 in@6"},
	{Name: "never ends", Kind: script, Check: misc, Steps: "0*2 sleep*3 0", With: "misc_timeout 2", Want: "in out@4 in@6"},
	{Name: "alpha, inhibit_on_failure", Kind: script, Check: misc, Steps: "1 0 1*2 0", Real: "alpha\ninhibit_on_failure", Want: "w=0 in@2 w=0@4 in@5"},
	{Name: "misc_dynamic", Kind: script, Check: misc, Steps: "10 20 2 255 10", Real: "weight 5", With: "misc_dynamic", Want: "w=5 w=8@1 w=18@2 w=0@3 w=253@4 w=8@5"},
	{Name: "misc_dynamic: 0 is the configured weight", Kind: script, Check: misc, Steps: "10 0*2 20", Real: "weight 5", With: "misc_dynamic", Want: "w=5 w=8@1 w=5@2 w=18@4"},
	{Name: "misc_dynamic: down, up", Kind: script, Check: misc, Steps: "10 1 10 1*3 12", Real: "weight 5", With: "misc_dynamic", Want: "w=5 w=8@1 out@5 w=10@7"},
	{Name: "two misc_dynamic, 10 and 20 on 5", Kind: script, Steps: "10*4", Real: "weight 5", With: "misc_dynamic",
		Check: misc + strings.ReplaceAll(misc, "PORT", "PORT1"), Ports: []fault.Port{{Kind: script, Port: 1, Steps: "20"}}, Want: "w=21", Last: true},
	{Name: "cannot run: no such file", Kind: script, Check: "MISC_CHECK {\nmisc_path DIR/nothing\n}\n", Want: "in", Poise: "out", Last: true, Why: cannotRun},
	{Name: "cannot run: not executable", Kind: script, Check: "MISC_CHECK {\nmisc_path DIR/plain\n}\n", Want: "in", Poise: "out", Last: true, Why: cannotRun},
	{Name: "cannot run: no interpreter", Kind: script, Check: "MISC_CHECK {\nmisc_path DIR/lost\n}\n", Want: "in", Poise: "out", Last: true, Why: cannotRun},
}}

// program does a step for each run of a case and says when, in the kernel's uptime: a
// clock that a shell can read without starting a program, which is dear in the machine.
// Its argument is the case's directory, where a line of steps is for each run, the last
// one for all others.
const program = `#!/bin/sh
cd "$1" || exit 99
read -r at rest </proc/uptime
n=0
[ -f n ] && read -r n <n
n=$((n+1))
echo $n >n
i=0
while read -r line; do step=$line; i=$((i+1)); [ $i -ge $n ] && break; done <steps
echo "${1##*/} $n $at $step" >>runs
case $step in
sleep) exec sleep 60 ;;
kill) kill -9 $$ ;;
*) exit "$step" ;;
esac
`

// writeScript writes a case's steps, and the programs.
func (x *side) writeScript(p fault.Port) error {
	steps, _ := fault.Parse(p.Steps)
	dir := filepath.Join(x.director.Dir, strconv.Itoa(int(p.Port)))
	x.runs[p.Port] = filepath.Join(dir, "runs")
	return errors.Join(
		os.RemoveAll(dir), os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "steps"), []byte(strings.Join(steps, "\n")+"\n"), 0o644),
		os.WriteFile(filepath.Join(x.director.Dir, "script"), []byte(program), 0o755),
		os.WriteFile(filepath.Join(x.director.Dir, "plain"), []byte(program), 0o644),
		os.WriteFile(filepath.Join(x.director.Dir, "lost"), []byte("#!/no/such/interpreter\n"), 0o755))
}

// scriptRuns are a case's so far.
func (x *side) scriptRuns(port uint16) []fault.Probe {
	file, err := os.Open(x.runs[port])
	if err != nil {
		return nil // it has not been run
	}
	defer file.Close()
	var list []fault.Probe
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 4 {
			continue // half written: the next look's
		}
		index, err := strconv.Atoi(words[1])
		up, err2 := time.ParseDuration(words[2] + "s")
		if errors.Join(err, err2) == nil {
			list = append(list, fault.Probe{Port: port, Index: index, At: booted().Add(up), Step: words[3]})
		}
	}
	return list
}

// booted is when the kernel's uptime began.
var booted = sync.OnceValue(func() time.Time {
	text, err := os.ReadFile("/proc/uptime")
	now := time.Now()
	word, _, _ := strings.Cut(string(text), " ")
	up, err2 := time.ParseDuration(word + "s")
	if errors.Join(err, err2) != nil {
		panic("read /proc/uptime: " + string(text))
	}
	return now.Add(-up)
})
