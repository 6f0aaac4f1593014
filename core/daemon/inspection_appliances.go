package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/poise-lb/poise/core/config"
	"github.com/poise-lb/poise/core/forwarder"
	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/core/plan"
	"github.com/poise-lb/poise/core/pluginhost"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// featureValidateService is announced by a forwarder that looks at virtual servers in
// Validate.
const featureValidateService = "validate-service"

// carriedServer is a virtual server that a forwarder is asked about.
type carriedServer struct {
	// Key is the configuration's, Item what the forwarder is shown.
	Key  model.ServiceKey
	Item json.RawMessage
}

// applianceInquiry is what the plugin of one appliance is asked.
type applianceInquiry struct {
	instance model.ForwarderInstance
	spec     pluginhost.Spec
	servers  []carriedServer
	// shown are the keys of what was shown, in its order; nil for the instance itself.
	shown []*carriedServer
	found pluginhost.Inspection
	err   error
}

// appliances has the plugins of appliances look at what is theirs.
func (i inspection) appliances(ctx context.Context, usable map[string]bool) {
	var inquiries []*applianceInquiry
	for _, f := range i.loaded.config.Forwarders {
		if verified, ok := usable[f.Process()]; ok && !verified {
			continue
		}
		q, err := i.inquireAppliance(f)
		if err != nil {
			i.appliance(f, "", config.Error, err.Error())
			continue
		}
		inquiries = append(inquiries, q)
	}
	ctx, cancel := context.WithTimeout(ctx, i.limit())
	defer cancel()
	var asking sync.WaitGroup
	for _, q := range inquiries {
		asking.Go(func() {
			q.found, q.err = i.inspect(ctx, q.spec, []any{q.instance.Parameters, q.servers}, q.items)
		})
	}
	asking.Wait()
	for _, q := range inquiries {
		i.takeAppliance(q)
	}
}

func (i inspection) inquireAppliance(f model.ForwarderInstance) (*applianceInquiry, error) {
	spec, err := i.options.spec(&i.loaded.config, instanceProcess(f))
	if err != nil {
		return nil, err
	}
	spec.Capabilities = nil
	q := &applianceInquiry{instance: f, spec: spec}
	for n := range i.loaded.config.VirtualServers {
		v := &i.loaded.config.VirtualServers[n]
		for _, k := range v.Carriers {
			if k.Forwarder != f.ID() {
				continue
			}
			s := plan.Configured(v)
			s.Key, s.Parameters = plan.CarriedKey(v.Key, k), k.Parameters
			item, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(forwarder.Encode(&s))
			if err != nil {
				return nil, fmt.Errorf("show %s to forwarder %s: %w", v.Key, f.ID(), err)
			}
			q.servers = append(q.servers, carriedServer{v.Key, item})
		}
	}
	return q, nil
}

// items are what the plugin is shown, by what it can look at.
func (q *applianceInquiry) items(info *pluginv1.DescribeResponse) []*pluginv1.ValidateItem {
	var out []*pluginv1.ValidateItem
	q.shown = nil
	if slices.Contains(info.GetFeatures(), featureValidatePlugin) {
		q.shown = append(q.shown, nil)
		out = append(out, &pluginv1.ValidateItem{ParametersJson: json.RawMessage(q.instance.Parameters)})
	}
	if slices.Contains(info.GetFeatures(), featureValidateService) {
		for n := range q.servers {
			q.shown = append(q.shown, &q.servers[n])
			out = append(out, &pluginv1.ValidateItem{Interface: pluginv1.Interface_INTERFACE_FORWARD, Type: q.instance.Type, ParametersJson: q.servers[n].Item})
		}
	}
	return out
}

func (i inspection) takeAppliance(q *applianceInquiry) {
	id := q.instance.ID()
	if q.err != nil {
		severity := config.Error
		if i.start {
			severity = config.Warning
		}
		i.appliance(q.instance, "", severity, fmt.Sprintf("forwarder %s: %s", id, inspectionFailure(q.err)))
		return
	}
	if !slices.ContainsFunc(q.found.Info.GetKinds(), func(k *pluginv1.Kind) bool {
		return k.GetInterface() == pluginv1.Interface_INTERFACE_FORWARD && k.GetType() == q.instance.Type
	}) {
		i.appliance(q.instance, "/type", config.Error, fmt.Sprintf("forwarder %s: plugin %s forwards nothing of type %s", id, q.found.Info.GetName(), q.instance.Type))
		return
	}
	if q.shown == nil {
		q.items(q.found.Info) // the answer was known
	}
	for _, p := range q.found.Problems {
		severity := config.Error
		if !isError(p) {
			severity = config.Warning
		}
		if int(p.GetItem()) >= len(q.shown) {
			continue
		}
		s := q.shown[p.GetItem()]
		if s == nil {
			where := strings.TrimPrefix(p.GetPath(), "/")
			if where != "" {
				where += ": "
			}
			i.appliance(q.instance, p.GetPath(), severity, fmt.Sprintf("forwarder %s: %s%s", id, where, p.GetMessage()))
			continue
		}
		file, line := i.result.LocateVirtualServer(s.Key, id, p.GetPath())
		i.add(config.Problem{File: file, Line: line, Severity: severity, Message: fmt.Sprintf("virtual server %s on %s: %s", s.Key, id, p.GetMessage())})
	}
}

// appliance adds a problem of an instance.
func (i inspection) appliance(f model.ForwarderInstance, pointer string, s config.Severity, message string) {
	file, line := i.result.LocateForwarder(f.ID(), pointer)
	i.add(config.Problem{File: file, Line: line, Severity: s, Message: message})
}
