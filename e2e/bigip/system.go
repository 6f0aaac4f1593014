package bigip

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/poise-lb/poise/e2e/bigip/internal/state"
)

// task is an asynchronous config-sync.
type task struct {
	id      int
	options []any
	status  string
}

// nested is the form in which the device shows what is not configuration: entries of one
// record, the keys of which are addresses.
func (u *Unit) nested(kind, path string, entries map[string]any) *reply {
	return ok(map[string]any{
		"kind": kind, "selfLink": u.view().Link(path, ""),
		"entries": map[string]any{"https://localhost/mgmt/tm/" + path + "/0": map[string]any{"nestedStats": map[string]any{"entries": entries}}},
	})
}

func described(text string) map[string]any { return map[string]any{"description": text} }

// systemCall answers what is not an object; nil: the address is none of these.
func (u *Unit) systemCall(c *call, path string) *reply {
	get, post := c.method == http.MethodGet, c.method == http.MethodPost
	switch {
	case path == "sys" && get:
		var items []any
		for _, name := range []string{"config", "folder", "provision", "ready", "version"} {
			items = append(items, map[string]any{"reference": map[string]any{"link": u.view().Link("sys/"+name, "")}})
		}
		return u.listing(c, "tm:sys:syscollectionstate", path, items)
	case path == "sys/version" && get:
		return u.nested("tm:sys:version:versionstats", path, map[string]any{
			"Build": described("0.0.1"), "Date": described("Thu Jan  1 00:00:00 UTC 1970"), "Edition": described("Simulator"),
			"Product": described("BIG-IP"), "Title": described("Main Package"), "Version": described(u.options.Version),
		})
	case path == "sys/ready" && get:
		return u.nested("tm:sys:ready:readystats", path, map[string]any{
			"configReady": described("yes"), "licenseReady": described("yes"), "provisionReady": described("yes"),
		})
	case path == "sys/provision" && get:
		var items []any
		for _, name := range []string{"afm", "asm", "gtm", "ltm"} {
			level := "none"
			if name == "ltm" {
				level = "nominal"
			}
			items = append(items, map[string]any{
				"kind": "tm:sys:provision:provisionstate", "name": name, "fullPath": name, "generation": 1,
				"selfLink": u.view().Link("sys/provision/"+name, ""), "cpuRatio": 0, "diskRatio": 0, "memoryRatio": 0, "level": level,
			})
		}
		return u.listing(c, "tm:sys:provision:provisioncollectionstate", path, items)
	case path == "sys/config" && post:
		if c.body["command"] != "save" || len(c.body) != 1 {
			return tmError(http.StatusBadRequest, state.APIProperty, "the simulator has no command of sys/config but save")
		}
		u.save()
		return ok(map[string]any{"kind": "tm:sys:config:savestate", "command": "save"})
	case path == "cm" && post:
		return u.syncCommand(c)
	case path == "cm/sync-status" && get:
		return u.syncStatus()
	case path == "cm/failover-status" && get:
		status, color := strings.ToUpper(u.failover), "green"
		if u.failover != Active {
			color = "gray"
		}
		return u.nested("tm:cm:failover-status:failover-statusstats", path, map[string]any{"color": described(color), "status": described(status)})
	case path == "shared/bigip-failover-state" && get:
		return ok(map[string]any{
			"isEnabled": true, "failoverState": u.failover, "pollCyclePeriodMillis": 3600000, "nextPollTime": u.clock.Now().UTC().Format("2006-01-02T15:04:05.000-0700"),
			"generation": 0, "lastUpdateMicros": 0, "kind": "tm:shared:bigip-failover-state:bigipfailoverstate",
			"selfLink": "https://localhost/mgmt/tm/shared/bigip-failover-state",
		})
	case path == "cm/device" && get:
		var items []any
		for _, d := range u.units() {
			items = append(items, u.device(d))
		}
		return u.listing(c, "tm:cm:device:devicecollectionstate", path, items)
	case strings.HasPrefix(path, "cm/device/") && get:
		for _, d := range u.units() {
			if name := strings.TrimPrefix(path, "cm/device/"); name == "~Common~"+d.options.Name || name == d.options.Name {
				return ok(u.device(d))
			}
		}
		return refusal(state.NotFound("device", strings.TrimPrefix(path, "cm/device/")))
	case path == "task/cm/config-sync" || strings.HasPrefix(path, "task/cm/config-sync/"):
		return u.taskCall(c, strings.TrimPrefix(strings.TrimPrefix(path, "task/cm/config-sync"), "/"))
	}
	return nil
}

func (u *Unit) save() {
	u.saved = u.store.Config
	u.saves++
}

// units is the unit and its peer.
func (u *Unit) units() []*Unit {
	if u.pair == nil {
		return []*Unit{u}
	}
	return []*Unit{u.pair.A, u.pair.B}
}

// device is how a unit shows itself or its peer.
func (u *Unit) device(d *Unit) map[string]any {
	self, failover := "false", d.failover
	if d == u {
		self = "true"
	} else if u.pair.apart {
		failover = "unknown"
	}
	address := "127.0.0.1"
	if d.listener != nil {
		address, _, _ = strings.Cut(d.listener.Addr().String(), ":")
	}
	path := "/Common/" + d.options.Name
	return map[string]any{
		"kind": "tm:cm:device:devicestate", "name": d.options.Name, "partition": "Common", "fullPath": path, "generation": 1,
		"selfLink":     u.view().Link("cm/device/"+state.Escape(path), ""),
		"configsyncIp": address, "edition": "Simulator", "failoverState": failover, "haCapacity": 0, "hostname": d.options.Name,
		"managementIp": address, "marketingName": "Simulated BIG-IP", "mirrorIp": "any6", "mirrorSecondaryIp": "any6", "platformId": "Z100",
		"product": "BIG-IP", "selfDevice": self, "timeZone": "UTC", "version": d.options.Version,
	}
}

func (u *Unit) groupDevices(group *state.Object, view state.View) []any {
	var items []any
	for _, d := range u.units() {
		path := "/Common/" + d.options.Name
		items = append(items, map[string]any{
			"kind": "tm:cm:device-group:devices:devicesstate", "name": d.options.Name, "partition": "Common", "fullPath": path, "generation": 1,
			"selfLink": view.Link(group.Address()+"/devices/"+state.Escape(path), ""), "setSyncLeader": false,
			"nameReference": map[string]any{"link": view.Link("cm/device/"+state.Escape(path), "")},
		})
	}
	return items
}

// taskCall is config-sync in its asynchronous form.
func (u *Unit) taskCall(c *call, id string) *reply {
	if id == "" {
		if c.method != http.MethodPost {
			return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
		}
		options, isList := c.body["options"].([]any)
		if c.body["command"] != "run" || !isList || len(c.body) != 2 {
			return tmError(http.StatusBadRequest, state.APIProperty, "invalid property value \"command\"")
		}
		t := &task{id: len(u.tasks) + 1, options: options, status: "STARTED"}
		u.tasks[t.id] = t
		return ok(u.taskBody(t))
	}
	n, err := strconv.Atoi(id)
	t := u.tasks[n]
	if err != nil || t == nil {
		return tmError(http.StatusNotFound, 1, "Task not found - "+id)
	}
	switch c.method {
	case http.MethodGet:
		if t.status == "VALIDATING" && (u.pair == nil || u.pair.job == nil) {
			t.status = "COMPLETED"
		}
		return ok(u.taskBody(t))
	case http.MethodPut:
		if c.body["_taskState"] != "VALIDATING" || len(c.body) != 1 {
			return tmError(http.StatusBadRequest, state.APIProperty, "invalid property value \"_taskState\"")
		}
		if t.status != "STARTED" {
			return tmError(http.StatusBadRequest, state.APIProperty, "task "+id+" was started before")
		}
		t.status = "VALIDATING"
		if refused := u.startTask(t); refused != nil {
			t.status = "FAILED"
		}
		return &reply{status: http.StatusAccepted, body: map[string]any{"code": http.StatusAccepted, "message": "Task will execute asynchronously.", "errorStack": []any{}}}
	}
	return restError(http.StatusMethodNotAllowed, c.entry, "Method not allowed")
}

func (u *Unit) startTask(t *task) *state.Error {
	direction, group := "", ""
	for _, option := range t.options {
		m, _ := option.(map[string]any)
		for name, v := range m {
			switch name {
			case "to-group", "from-group":
				direction = name
				group, _ = v.(string)
			case "force-full-load-push":
			default:
				return &state.Error{HTTP: http.StatusBadRequest, Message: "unknown option " + name}
			}
		}
	}
	return u.sync(direction, group)
}

func (u *Unit) taskBody(t *task) map[string]any {
	return map[string]any{
		"_taskId": t.id, "_taskState": t.status, "command": "run", "options": t.options,
		"kind": "tm:task:cm:config-sync:runtaskstate", "selfLink": u.view().Link("task/cm/config-sync/"+strconv.Itoa(t.id), ""),
	}
}
