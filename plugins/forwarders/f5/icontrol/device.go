package icontrol

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Ready is how far a device has started.
type Ready struct{ Config, License, Provision bool }

// All: it can be configured.
func (r Ready) All() bool { return r.Config && r.License && r.Provision }

// States of failover. A device has more, in all of which it carries nothing.
const (
	Active  = "active"
	Standby = "standby"
)

// Device is a unit of a pair, or the only one.
type Device struct {
	Name string
	// Self: it is the one that was asked.
	Self bool
	// FailoverState is in lower case: active, standby, offline, ...
	FailoverState string
	// Hostname, ManagementAddress and Version are empty where the device does not tell.
	Hostname, ManagementAddress, Version string
}

// DeviceGroup is a group of devices that share their configuration.
type DeviceGroup struct {
	Name string
	// SyncFailover: its devices take over from each other; otherwise they only share.
	SyncFailover bool
	// AutoSync: a change gets to the others without being asked for. SaveOnAutoSync: it is
	// saved there too. FullLoadOnSync: everything is sent, not only what changed.
	AutoSync, SaveOnAutoSync, FullLoadOnSync bool
	// Devices are the names of its members.
	Devices []string
}

// SyncStatus is how the configurations of the units stand to each other.
type SyncStatus struct {
	// Status: "In Sync", "Changes Pending", "Standalone", "Disconnected", ...
	Status string
	// Mode is "standalone" for one unit on its own. Color: green, yellow, red, ...
	Mode, Color string
	// Summary and Details explain.
	Summary string
	Details []string
}

// InSync: there is nothing to wait for.
func (s SyncStatus) InSync() bool { return s.Status == "In Sync" || s.Standalone() }

// Standalone: there is no other unit.
func (s SyncStatus) Standalone() bool { return s.Status == "Standalone" }

// Version gives the version of TMOS.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version string
	err := c.status(ctx, Collection("sys", "version"), func(e leaves) error {
		version = e.text("Version")
		return e.lacks(version, "Version")
	})
	return version, err
}

// Ready tells how far the device has started.
func (c *Client) Ready(ctx context.Context) (Ready, error) {
	var ready Ready
	err := c.status(ctx, Collection("sys", "ready"), func(e leaves) error {
		ready = Ready{Config: e.text("configReady") == "yes", License: e.text("licenseReady") == "yes", Provision: e.text("provisionReady") == "yes"}
		return e.lacks(e.text("configReady"), "configReady")
	})
	return ready, err
}

// FailoverState gives that of the device itself, in lower case.
func (c *Client) FailoverState(ctx context.Context) (string, error) {
	var state string
	err := c.status(ctx, Collection("cm", "failover-status"), func(e leaves) error {
		state = strings.ToLower(e.text("status"))
		return e.lacks(state, "status")
	})
	return state, err
}

// SyncStatus gives how the device sees the pair.
func (c *Client) SyncStatus(ctx context.Context) (SyncStatus, error) {
	var s SyncStatus
	err := c.status(ctx, Collection("cm", "sync-status"), func(e leaves) error {
		s = SyncStatus{Status: e.text("status"), Mode: e.text("mode"), Color: e.text("color"), Summary: strings.TrimSpace(e.text("summary"))}
		s.Details = e["details"]
		return e.lacks(s.Status, "status")
	})
	return s, err
}

// Devices gives the units that the device knows of. Exactly one of them is it itself.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	path := Collection("cm", "device")
	var answer struct {
		Items []struct {
			Name          string `json:"name"`
			SelfDevice    string `json:"selfDevice"`
			FailoverState string `json:"failoverState"`
			Hostname      string `json:"hostname"`
			ManagementIP  string `json:"managementIp"`
			Version       string `json:"version"`
		} `json:"items"`
	}
	if err := c.read(ctx, path, nil, &answer); err != nil {
		return nil, err
	}
	var devices []Device
	selves := 0
	for _, d := range answer.Items {
		device := Device{
			Name: d.Name, Self: d.SelfDevice == "true", FailoverState: strings.ToLower(d.FailoverState),
			Hostname: d.Hostname, ManagementAddress: d.ManagementIP, Version: d.Version,
		}
		if device.Self {
			selves++
		}
		devices = append(devices, device)
	}
	if selves != 1 {
		return nil, fmt.Errorf("%s %s: %d of %d devices say that they are the one that was asked", http.MethodGet, path, selves, len(devices))
	}
	return devices, nil
}

// DeviceGroups gives the groups that share what operators configure; the device has more
// for itself.
func (c *Client) DeviceGroups(ctx context.Context) ([]DeviceGroup, error) {
	path := Collection("cm", "device-group")
	var answer struct {
		Items []deviceGroup `json:"items"`
	}
	if err := c.read(ctx, path, url.Values{"expandSubcollections": {"true"}}, &answer); err != nil {
		return nil, err
	}
	var groups []DeviceGroup
	for _, g := range answer.Items {
		if g.internal() {
			continue
		}
		// A group without devices and one that was not expanded look alike.
		if len(g.Devices.Items) == 0 {
			if err := c.read(ctx, path.Object(Name{Partition: "Common", Name: g.Name}).Sub("devices"), nil, &g.Devices); err != nil {
				return nil, err
			}
		}
		groups = append(groups, g.group())
	}
	return groups, nil
}

// deviceGroup is a group as a device describes it.
type deviceGroup struct {
	Name           string       `json:"name"`
	Type           string       `json:"type"`
	AutoSync       string       `json:"autoSync"`
	SaveOnAutoSync string       `json:"saveOnAutoSync"`
	FullLoadOnSync string       `json:"fullLoadOnSync"`
	Devices        groupDevices `json:"devicesReference"`
}

type groupDevices struct {
	Items []struct {
		Name string `json:"name"`
	} `json:"items"`
}

func (g deviceGroup) internal() bool {
	return g.Name == "device_trust_group" || strings.HasPrefix(g.Name, "datasync-")
}

func (g deviceGroup) group() DeviceGroup {
	group := DeviceGroup{
		Name: g.Name, SyncFailover: g.Type == "sync-failover", AutoSync: g.AutoSync == "enabled",
		SaveOnAutoSync: g.SaveOnAutoSync == "true", FullLoadOnSync: g.FullLoadOnSync == "true",
	}
	for _, d := range g.Devices.Items {
		group.Devices = append(group.Devices, d.Name)
	}
	return group
}

// ConfigSync sends the device's configuration to the others of a group, over theirs. They
// have it some time later: see SyncStatus.
func (c *Client) ConfigSync(ctx context.Context, group string) error {
	// The name becomes part of a command.
	if strings.ContainsFunc(group, func(r rune) bool { return !strings.ContainsRune("-_./", r) && !isAlphanumeric(r) }) || group == "" || group[0] == '-' {
		return fmt.Errorf("config-sync to device group %q: this cannot be its name", group)
	}
	return c.command(ctx, Collection("cm"), map[string]string{"command": "run", "utilCmdArgs": "config-sync to-group " + group}, false)
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// Save writes the running configuration to the device's disk. What is not saved is lost
// when it restarts.
func (c *Client) Save(ctx context.Context) error {
	return c.command(ctx, Collection("sys", "config"), map[string]string{"command": "save"}, true)
}

func (c *Client) command(ctx context.Context, path Path, body map[string]string, repeatable bool) error {
	r := &request{method: http.MethodPost, path: path, repeatable: repeatable, timeout: c.options.CommitTimeout}
	if err := r.encode(body); err != nil {
		return err
	}
	return c.do(ctx, r)
}

func (c *Client) read(ctx context.Context, path Path, query url.Values, out any) error {
	if err := path.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", http.MethodGet, path, err)
	}
	return c.do(ctx, &request{method: http.MethodGet, path: path, query: query, out: out, repeatable: true})
}

// status reads something of the form that statistics have, and has it decoded.
func (c *Client) status(ctx context.Context, path Path, decode func(leaves) error) error {
	var raw json.RawMessage
	if err := c.read(ctx, path, nil, &raw); err != nil {
		return err
	}
	tree, err := parseLeaves(raw)
	if err == nil {
		err = decode(tree)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", http.MethodGet, path, err)
	}
	return nil
}

// leaves are the named ends of nested statistics, whose keys on the way are URLs that
// differ between versions. Of names that occur more than once the outermost comes first.
type leaves map[string][]string

func parseLeaves(raw []byte) (leaves, error) {
	found := leaves{}
	level := []json.RawMessage{raw}
	for len(level) > 0 {
		var next []json.RawMessage
		for _, tree := range level {
			var node struct {
				Entries     map[string]json.RawMessage `json:"entries"`
				NestedStats json.RawMessage            `json:"nestedStats"`
			}
			if err := json.Unmarshal(tree, &node); err != nil {
				return nil, fmt.Errorf("the answer is not a tree of entries: %w", err)
			}
			if node.NestedStats != nil {
				next = append(next, node.NestedStats)
			}
			for _, key := range slices.Sorted(maps.Keys(node.Entries)) {
				var leaf struct {
					Description *string `json:"description"`
				}
				if json.Unmarshal(node.Entries[key], &leaf) == nil && leaf.Description != nil {
					found[key] = append(found[key], *leaf.Description)
				} else {
					next = append(next, node.Entries[key])
				}
			}
		}
		level = next
	}
	return found, nil
}

func (l leaves) text(name string) string {
	if values := l[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func (l leaves) lacks(value, name string) error {
	if value == "" {
		return fmt.Errorf("the answer has no %s", name)
	}
	return nil
}
