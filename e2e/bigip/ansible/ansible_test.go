package ansible

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/poise-lb/poise/e2e/bigip"
	"github.com/poise-lb/poise/e2e/lab"
)

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

// check looks at each task of a run: changed the first time, and not the second.
func check(t *testing.T, p *Playbook, plays, tasks int) {
	t.Helper()
	r := p.Report(t)
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
	if len(r.Plays) != plays || seen != tasks {
		t.Errorf("%s: %d plays, %d tasks, want %d and %d", p.name, len(r.Plays), seen, plays, tasks)
	}
}

// TestCollection runs both playbooks at once: they have a partition each.
func TestCollection(t *testing.T) {
	Need(t)
	alone(t)
	Apart(t)
	u := bigip.New(bigip.Options{Partitions: []string{"virtuals"}})
	u.AddForeign("Common", "virtuals")
	foreign := u.Foreign()
	if err := u.Start(""); err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	began := time.Now()
	pools, virtuals := Start(t, u, "testdata/pools/play.yml"), Start(t, u, "testdata/virtuals/play.yml")
	check(t, pools, 7, 2*(6+6+4)+2)
	check(t, virtuals, 6, 2*(6+6+6))
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
