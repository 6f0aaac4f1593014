package f5

import (
	"fmt"
	"sync"
	"testing"

	"github.com/poise-lb/poise/e2e/bigip"
	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
)

// traffic is what a stretch of requests was made of.
type traffic struct {
	// commands of transactions, begins and commits of these, requests besides.
	commands, begins, commits, others int
	// reads are the GETs among others, writes all that is not one.
	reads, writes int
	// largest transaction.
	largest int
}

func (x traffic) String() string {
	return fmt.Sprintf("%d transactions (the largest has %d commands), %d commands, %d requests besides", x.commits, x.largest, x.commands, x.others)
}

func measure(requests []bigip.Request) traffic {
	var x traffic
	sizes := map[string]int{}
	for _, r := range requests {
		if r.Method != "GET" {
			x.writes++
		}
		switch {
		case r.Transaction != "":
			x.commands++
			sizes[r.Transaction]++
			x.largest = max(x.largest, sizes[r.Transaction])
		case r.Method == "POST" && r.Path == "/mgmt/tm/transaction":
			x.begins++
		case r.Method == "PATCH" && len(r.Path) > len("/mgmt/tm/transaction/") && r.Path[:len("/mgmt/tm/transaction/")] == "/mgmt/tm/transaction/":
			x.commits++
		default:
			x.others++
			if r.Method == "GET" {
				x.reads++
			}
		}
	}
	return x
}

// large are 100 pools of 20 members.
func large() (list []*forwardv1.VirtualServer) {
	for i := range 100 {
		list = append(list, web(i+1, 20))
	}
	return list
}

// still has nothing but requests of the test's own in the log.
var still = map[string]any{"drift_interval": "1h", "stats_interval": "1h", "save_interval": "1h"}

func TestRequestsOfManyMembers(t *testing.T) {
	s := single(t, still)
	u, list := s.units[0], large()
	u.ClearRequests()
	s.done(list...)
	first := measure(u.Requests())
	t.Logf("first: %s", first)
	if first.others > 10 {
		t.Errorf("%d requests besides the transactions, want 10 at most", first.others)
	}
	if first.commands > 3*100+10 {
		t.Errorf("%d commands for 100 pools, want 310 at most", first.commands)
	}
	if first.largest > 100 {
		t.Errorf("a transaction has %d commands", first.largest)
	}

	u.ClearRequests()
	if n := s.done(list...); n != 0 {
		t.Errorf("%d changes without a difference", n)
	}
	same := measure(u.Requests())
	t.Logf("no change: %s", same)
	if same.writes > 0 {
		t.Errorf("%d writes without a change", same.writes)
	}

	u.ClearRequests()
	list[17].Scheduler = "wrr"
	for _, v := range list {
		v.Scheduler = "wrr"
	}
	s.done(list...)
	u.ClearRequests()
	list[41].RealServers[7].Weight = 3
	s.done(list...)
	weight := measure(u.Requests())
	t.Logf("one weight: %s, %d writes", weight, weight.writes)
	if weight.writes > 4 {
		t.Errorf("%d writes for one weight, want 4 at most", weight.writes)
	}
}

// A thousand verdicts in a burst come as sets, one after the other, of which the newest wins
// while one is on its way: the daemon's facade sends them so.
func TestBurst(t *testing.T) {
	s := single(t, still)
	u, list := s.units[0], large()
	s.done(list...)
	u.ClearRequests()
	var mu sync.Mutex
	changed, sent := 0, 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 1000 {
			mu.Lock()
			list[i%100].RealServers[i/100].Offline = true
			changed++
			mu.Unlock()
		}
	}()
	for last := 0; last < 1000; {
		mu.Lock()
		last = changed
		copies := make([]*forwardv1.VirtualServer, len(list))
		for i, v := range list {
			copies[i] = clone(v)
		}
		mu.Unlock()
		s.done(copies...)
		sent++
	}
	<-done
	x := measure(u.Requests())
	t.Logf("1,000 verdicts: %d sets, %s", sent, x)
	if x.commits > 4*sent || x.commits > 40 {
		t.Errorf("%d transactions for 1,000 verdicts", x.commits)
	}
	for i := range 100 {
		for j := range 10 {
			list[i].RealServers[j].Offline = true
		}
	}
	if n := s.done(list...); n != 0 {
		t.Errorf("%d changes are left after the burst", n)
	}
}
