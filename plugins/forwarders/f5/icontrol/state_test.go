package icontrol_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/poise-lb/poise/plugins/forwarders/f5/icontrol"
)

// serving makes a client of a device that answers one path with a body.
func serving(t *testing.T, path string, body []byte) (*icontrol.Client, *unit) {
	u := newUnit(t)
	u.fault = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		hit := strings.TrimPrefix(r.URL.Path, "/mgmt/tm/") == path
		if hit {
			_, _ = w.Write(body)
		}
		return hit
	}
	// What is not about objects of a partition is not asked about.
	return u.client(t, func(o *icontrol.Options) { o.Allowed = icontrol.Within("lab") }), u
}

func TestRecordedStates(t *testing.T) {
	c, _ := serving(t, "cm/failover-status", fixture(t, "ts_cm_failover_status.json"))
	if got, err := c.FailoverState(t.Context()); err != nil || got != icontrol.Active {
		t.Errorf("failover state: %q, %v", got, err)
	}
	c, _ = serving(t, "sys/ready", fixture(t, "ts_sys_ready.json"))
	if got, err := c.Ready(t.Context()); err != nil || !got.All() {
		t.Errorf("ready: %+v, %v", got, err)
	}
	c, _ = serving(t, "cm/sync-status", fixture(t, "ts_cm_sync_status.json"))
	if got, err := c.SyncStatus(t.Context()); err != nil || got.Status != "Standalone" || got.Color != "green" || got.Mode != "standalone" || got.Summary != "Description" || !got.InSync() {
		t.Errorf("sync status: %+v, %v", got, err)
	}
	c, _ = serving(t, "cm/sync-status", fixture(t, "sdk_cm_sync_status_GET.json"))
	got, err := c.SyncStatus(t.Context())
	if err != nil || got.Status != "Standalone" || got.Summary != "" || !slices.Equal(got.Details, []string{"Optional action: Add a device to the trust domain"}) {
		t.Errorf("sync status of 11.6: %+v, %v", got, err)
	}
}

// TestRecordedGroup: the recorded group is one that the device has for itself; under
// another name it is read.
func TestRecordedGroup(t *testing.T) {
	recorded := fixture(t, "ansible_load_tm_cm_device_group.json")
	collection := func(item string) []byte { return []byte(`{"items":[` + item + `]}`) }
	c, _ := serving(t, "cm/device-group", collection(string(recorded)))
	if got, err := c.DeviceGroups(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("groups: %+v, %v", got, err)
	}
	c, u := serving(t, "cm/device-group", collection(strings.ReplaceAll(string(recorded), "device_trust_group", "pair")))
	// It is not expanded.
	groups := u.fault
	u.set(func() {
		u.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if r.URL.Path == "/mgmt/tm/cm/device-group/~Common~pair/devices" {
				answer(w, map[string]any{"items": []any{map[string]any{"name": "a.example.net"}}})
				return true
			}
			return groups(w, r, body)
		}
	})
	got, err := c.DeviceGroups(t.Context())
	if err != nil || len(got) != 1 || got[0].Name != "pair" || !slices.Equal(got[0].Devices, []string{"a.example.net"}) || got[0].SyncFailover || !got[0].AutoSync || got[0].SaveOnAutoSync || got[0].FullLoadOnSync {
		t.Errorf("groups: %+v, %v", got, err)
	}
}

func TestGroups(t *testing.T) {
	c, _ := serving(t, "cm/device-group", []byte(`{"kind":"tm:cm:device-group:device-groupcollectionstate","items":[
		{"name":"device_trust_group","type":"sync-only","autoSync":"enabled"},
		{"name":"datasync-global-dg","type":"sync-only","autoSync":"enabled"},
		{"name":"pair","type":"sync-failover","autoSync":"disabled","saveOnAutoSync":"true","fullLoadOnSync":"true",
		 "devicesReference":{"isSubcollection":true,"items":[{"name":"a.example.net"},{"name":"b.example.net"}]}}]}`))
	got, err := c.DeviceGroups(t.Context())
	if err != nil || len(got) != 1 {
		t.Fatalf("groups: %+v, %v", got, err)
	}
	if g := got[0]; !g.SyncFailover || g.AutoSync || !g.SaveOnAutoSync || !g.FullLoadOnSync || !slices.Equal(g.Devices, []string{"a.example.net", "b.example.net"}) {
		t.Errorf("group: %+v", g)
	}
}

func TestVersion(t *testing.T) {
	for _, leaf := range []string{"https://localhost/mgmt/tm/sys/version/0", "0"} {
		c, _ := serving(t, "sys/version", []byte(`{"kind":"tm:sys:version:versionstats","entries":{"`+leaf+`":{"nestedStats":{"entries":{
			"Build":{"description":"0.0.9"},"Product":{"description":"BIG-IP"},"Version":{"description":"16.1.2"}}}}}}`))
		if got, err := c.Version(t.Context()); err != nil || got != "16.1.2" {
			t.Errorf("version: %q, %v", got, err)
		}
	}
}

func TestDevices(t *testing.T) {
	const (
		a = `{"name":"a.example.net","selfDevice":"true","failoverState":"active","managementIp":"192.0.2.1","version":"16.1.2"}`
		b = `{"name":"b.example.net","selfDevice":"false","failoverState":"standby"}`
	)
	c, _ := serving(t, "cm/device", []byte(`{"items":[`+a+`,`+b+`]}`))
	got, err := c.Devices(t.Context())
	want := []icontrol.Device{
		{Name: "a.example.net", Self: true, FailoverState: icontrol.Active, ManagementAddress: "192.0.2.1", Version: "16.1.2"},
		{Name: "b.example.net", FailoverState: icontrol.Standby},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("devices: %+v, %v", got, err)
	}
	for _, items := range []string{"", b, a + "," + a} {
		c, _ := serving(t, "cm/device", []byte(`{"items":[`+items+`]}`))
		if got, err := c.Devices(t.Context()); err == nil {
			t.Errorf("which of %s was asked is said to be known: %+v", items, got)
		}
	}
}

// TestStatesThatAreNone: what is missing is an error, not a state.
func TestStatesThatAreNone(t *testing.T) {
	for _, body := range []string{`{}`, `[]`, `7`, `{"entries":{}}`, `{"entries":[]}`, `{"entries":{"x":{"nestedStats":{"entries":{"other":{"description":"y"}}}}}}`, `{"entries":{"x":3}}`} {
		for path, ask := range map[string]func(*icontrol.Client) error{
			"sys/version":        func(c *icontrol.Client) error { _, err := c.Version(t.Context()); return err },
			"sys/ready":          func(c *icontrol.Client) error { _, err := c.Ready(t.Context()); return err },
			"cm/failover-status": func(c *icontrol.Client) error { _, err := c.FailoverState(t.Context()); return err },
			"cm/sync-status":     func(c *icontrol.Client) error { _, err := c.SyncStatus(t.Context()); return err },
		} {
			c, _ := serving(t, path, []byte(body))
			if err := ask(c); err == nil || !strings.HasPrefix(err.Error(), "GET /mgmt/tm/"+path+": ") {
				t.Errorf("%s of %s: %v", path, body, err)
			}
		}
	}
}

func TestCommands(t *testing.T) {
	u := newUnit(t)
	var bodies []string
	u.fault = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		hit := r.URL.Path == "/mgmt/tm/cm" || r.URL.Path == "/mgmt/tm/sys/config"
		if hit {
			var compact map[string]string
			_ = json.Unmarshal(body, &compact)
			bodies = append(bodies, r.Method+" "+r.URL.Path+" "+compact["command"]+" "+compact["utilCmdArgs"])
			answer(w, map[string]any{"kind": "tm:cm:runstate"})
		}
		return hit
	}
	c := u.client(t, func(o *icontrol.Options) { o.Allowed = icontrol.Within("lab") })
	if err := c.ConfigSync(t.Context(), "failover-group"); err != nil {
		t.Error(err)
	}
	if err := c.Save(t.Context()); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "a b", "-x", "a;b", "a\nb", "force-full-load-push from-group x"} {
		if err := c.ConfigSync(t.Context(), bad); err == nil {
			t.Errorf("config-sync to %q was sent", bad)
		}
	}
	if want := []string{"POST /mgmt/tm/cm run config-sync to-group failover-group", "POST /mgmt/tm/sys/config save "}; !slices.Equal(bodies, want) {
		t.Errorf("sent %q", bodies)
	}
}
