package f5

import (
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/poise-lb/poise/e2e/bigip/ansible"
)

// TestOtherDirectorsTurn: an instance with a failover group is written to only while the
// group is master here: not before it has become so, and not when it is not any more. A
// network namespace of the test's own has the failover's interface.
func TestOtherDirectorsTurn(t *testing.T) {
	t.Parallel()
	ansible.Apart(t)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "lan0"}, PeerName: "lan1"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	other, err := netlink.LinkByName(link.PeerName)
	if err == nil {
		err = netlink.LinkSetUp(other)
	}
	if err != nil {
		t.Fatal(err)
	}
	address, err := netlink.ParseAddr("192.0.2.10/24")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, address); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	s := newScene(t)
	s.configure(s.head(", group: VGM") + `failover_groups:
  - {name: VGM, instances: [{name: lan, interface: lan0, virtual_router_id: 51, priority: 100, addresses: [` + onDirector + `]}]}
virtual_servers:
` + s.service(onDirector+":80", `"null", "f5:lab"`, "address: "+onBigIP))
	s.start()
	role := func() string { return s.status().GetFailoverGroups()[0].GetRole() }
	held := func() string { return s.status().GetAppliances()[0].GetHeld() }
	writes := func() (out []string) {
		for _, r := range s.unit.Requests() {
			if r.Write() && strings.HasPrefix(r.Kind, "ltm/") {
				out = append(out, r.Time.Format(time.StampMilli)+" "+r.Method+" "+r.Path)
			}
		}
		return out
	}
	// Three adverts of a second have to fail before it takes over.
	waitFor(t, "the BIG-IP has been read", func() bool { return s.status().GetAppliances()[0].GetPlatform() != "" })
	if role() == "master" || len(writes()) > 0 || held() != "failover group VGM is not master here" {
		t.Errorf("as %s it wrote %q (%s)", role(), writes(), held())
	}
	if out, code := s.poise("diff", "f5:lab"); code != 1 || !strings.Contains(out, "failover group VGM is not master here") || !strings.Contains(out, "missing") {
		t.Errorf("poise diff before the take-over: exit status %d\n%s", code, out)
	}
	waitFor(t, "the master has written", func() bool { return role() == "master" && held() == "" && s.settled() && s.enabled(pool, 0) })

	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the group is not master any more", func() bool { return role() == "fault" && held() != "" })
	s.unit.ClearRequests()
	e := s.watch()
	v := s.flip(e, 0, false)
	if e.next(0, patience, applied("", v)) == nil {
		t.Error("the verdict has not reached the director's own table")
	}
	time.Sleep(time.Second)
	if got := writes(); len(got) > 0 || !s.enabled(pool, 0) {
		t.Errorf("without being master it wrote %q", got)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the master has written what has changed meanwhile", func() bool { return role() == "master" && s.offline(pool, 0) && s.settled() })
}
