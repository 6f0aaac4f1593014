package f5

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/e2e/bigip/ansible"
)

// TestPlaybook: what poise has made is what F5's own Ansible modules would make: with
// --check they have nothing to change, and what they read back is what poise was told.
func TestPlaybook(t *testing.T) {
	ansible.Need(t)
	t.Parallel()
	ansible.Apart(t)
	s := newScene(t)
	s.configure(s.hybrid() + s.service(onDirector+":443", `"null", "f5:lab"`, "address: "+onBigIP) + "    persistence: 6m\n")
	s.start()
	waitFor(t, "the virtual servers are on the BIG-IP", func() bool { return s.settled() && s.enabled(pool, 1) })
	s.reals[0].down()
	waitFor(t, "the first real server is offline", func() bool { return s.settled() && s.offline(pool, 0) })
	s.stop()
	before := s.unit.Dump()

	play := ansible.Start(t, s.unit, "testdata/play.yml", "--check")
	report := play.Report(t)
	if got := s.unit.Dump(); !bytes.Equal(got, before) {
		t.Errorf("--check has changed the BIG-IP:\n%s\nwant\n%s", got, before)
	}
	var info struct {
		Pools []struct {
			Name    string
			Members []struct{ Name, State string }
		} `json:"ltm_pools"`
		Virtuals []struct {
			Name, Destination string
			Pool              string `json:"default_pool"`
		} `json:"virtual_servers"`
	}
	names := []string{}
	for _, task := range report.Plays[0].Tasks {
		result, ran := task.Hosts["localhost"]
		names = append(names, task.Task.Name)
		// A playbook that finds nothing shows nothing if it finds nothing anywhere.
		differs := strings.HasPrefix(task.Task.Name, "other ")
		if !ran || result.Failed || result.Changed != differs {
			t.Errorf("%s: ran %v, failed %v, changed %v: %v", task.Task.Name, ran, result.Failed, result.Changed, result.Msg)
		}
		if task.Task.Name == "read back" {
			if err := json.Unmarshal(result.Raw, &info); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(names) != 10 {
		t.Errorf("%d tasks: %q", len(names), names)
	}
	var read []string
	for _, p := range info.Pools {
		if strings.HasPrefix(p.Name, "poise_") {
			for _, m := range p.Members {
				read = append(read, p.Name+" "+m.Name+" "+m.State)
			}
		}
	}
	for _, v := range info.Virtuals {
		if strings.HasPrefix(v.Name, "poise_") {
			read = append(read, v.Name+" "+v.Destination+" "+v.Pool)
		}
	}
	slices.Sort(read)
	want := []string{
		"poise_tcp_192.0.2.200_443 /lab/192.0.2.200:443 /lab/poise_tcp_192.0.2.200_443",
		"poise_tcp_192.0.2.200_443 10.0.0.1:443 forced_offline", "poise_tcp_192.0.2.200_443 10.0.0.2:443 present",
		"poise_tcp_192.0.2.200_80 /lab/192.0.2.200:80 /lab/poise_tcp_192.0.2.200_80",
		"poise_tcp_192.0.2.200_80 10.0.0.1:80 forced_offline", "poise_tcp_192.0.2.200_80 10.0.0.2:80 present",
	}
	if !slices.Equal(read, want) {
		t.Errorf("bigip_device_info reads\n%s\nwant\n%s", strings.Join(read, "\n"), strings.Join(want, "\n"))
	}
}
