package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	forwardv1 "github.com/poise-lb/poise/proto/poise/forward/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// pluginService serves poise.plugin.v1.
type pluginService struct {
	pluginv1.UnimplementedPluginServiceServer
	plugin Plugin
	logger hclog.Logger
	// nil for what is not offered.
	checks   *checkService
	failover *failoverService
}

// featureValidatePlugin says that Validate takes the plugin's own parameters too: an item
// without interface and type.
const (
	featureValidatePlugin  = "validate-plugin"
	featureValidateService = "validate-service"
	featureMembers         = "members"
	featureHold            = "hold"
	featureMarks           = "marks"
	featureImport          = "import"
)

// Describe says what the Plugin holds.
func (s *pluginService) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	out := &pluginv1.DescribeResponse{Name: s.plugin.Name, Version: s.plugin.Version, Features: []string{featureValidatePlugin}}
	add := func(i pluginv1.Interface, kind string, ability any) {
		k := &pluginv1.Kind{Interface: i, Type: kind}
		if schemer, ok := ability.(Schemer); ok {
			k.ParametersSchemaJson = schemer.Schema()
		}
		out.Kinds = append(out.Kinds, k)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.plugin.Checkers)) {
		add(pluginv1.Interface_INTERFACE_CHECK, kind, s.plugin.Checkers[kind])
	}
	for feature, has := range s.forwarderFeatures() {
		if has {
			out.Features = append(out.Features, feature)
		}
	}
	slices.Sort(out.Features)
	if s.plugin.Forwarder != nil {
		add(pluginv1.Interface_INTERFACE_FORWARD, s.plugin.ForwarderType, s.plugin.Forwarder)
	}
	if s.plugin.Failover != nil {
		add(pluginv1.Interface_INTERFACE_FAILOVER, s.plugin.FailoverType, s.plugin.Failover)
	}
	return out, nil
}

// forwarderFeatures are the optional abilities of a forwarder, and whether this one has
// them.
func (s *pluginService) forwarderFeatures() map[string]bool {
	_, validates := s.plugin.Forwarder.(ServiceValidator)
	_, keeps := s.plugin.Forwarder.(MemberKeeper)
	_, holds := s.plugin.Forwarder.(Holder)
	_, marks := s.plugin.Forwarder.(Marker)
	_, imports := s.plugin.Forwarder.(Importer)
	return map[string]bool{featureValidateService: validates, featureMembers: keeps, featureHold: holds, featureMarks: marks, featureImport: imports}
}

// Validate asks each kind about its items.
func (s *pluginService) Validate(_ context.Context, r *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	out := &pluginv1.ValidateResponse{}
	for i, item := range r.GetItems() {
		for _, p := range s.validate(item) {
			severity := pluginv1.Severity_SEVERITY_ERROR
			if p.Warning {
				severity = pluginv1.Severity_SEVERITY_WARNING
			}
			out.Problems = append(out.Problems, &pluginv1.Problem{Item: uint32(i), Path: text(p.Path), Message: text(p.Message), Severity: severity})
		}
	}
	return out, nil
}

func (s *pluginService) validate(item *pluginv1.ValidateItem) (problems []Problem) {
	defer func() {
		if r := recover(); r != nil {
			problems = []Problem{{Message: fmt.Sprintf("the plugin panicked while it looked at the parameters: %v", r)}}
		}
	}()
	if item.GetInterface() == pluginv1.Interface_INTERFACE_UNSPECIFIED && item.GetType() == "" {
		return s.validateSettings(item.GetParametersJson())
	}
	var ability any
	switch {
	case item.GetInterface() == pluginv1.Interface_INTERFACE_CHECK && s.plugin.Checkers[item.GetType()] != nil:
		ability = s.plugin.Checkers[item.GetType()]
	case item.GetInterface() == pluginv1.Interface_INTERFACE_FORWARD && s.plugin.Forwarder != nil && item.GetType() == s.plugin.ForwarderType:
		ability = s.plugin.Forwarder
	case item.GetInterface() == pluginv1.Interface_INTERFACE_FAILOVER && s.plugin.Failover != nil && item.GetType() == s.plugin.FailoverType:
		ability = s.plugin.Failover
	default:
		return []Problem{{Message: fmt.Sprintf("plugin %s has no %s of type %q", s.plugin.Name, interfaceNames[item.GetInterface()], item.GetType())}}
	}
	switch a := ability.(type) {
	case ServiceValidator:
		if !hasParameters(item.GetParametersJson()) {
			return nil // no virtual server, nothing to say
		}
		v := &forwardv1.VirtualServer{}
		if err := protojson.Unmarshal(item.GetParametersJson(), v); err != nil {
			return []Problem{{Message: fmt.Sprintf("the virtual server cannot be read: %v", err)}}
		}
		return a.ValidateService(v)
	case Validator:
		return a.Validate(item.GetParametersJson())
	case Checker:
		if _, err := a.Parse(item.GetParametersJson()); err != nil {
			path, message := explain(err)
			return []Problem{{Path: path, Message: message}}
		}
	default:
		if hasParameters(item.GetParametersJson()) {
			return []Problem{{Message: fmt.Sprintf("%s takes no parameters: leave them out", item.GetType())}}
		}
	}
	return nil
}

// validateSettings looks at the parameters of the plugin itself.
func (s *pluginService) validateSettings(parameters json.RawMessage) []Problem {
	if !s.takesSettings() {
		if hasParameters(parameters) {
			return []Problem{{Message: fmt.Sprintf("plugin %s takes no parameters: leave them out", s.plugin.Name)}}
		}
		return nil
	}
	var problems []Problem
	configurers := s.configurers()
	for _, kind := range slices.Sorted(maps.Keys(configurers)) {
		if v, ok := configurers[kind].(SettingsValidator); ok {
			problems = append(problems, v.ValidateSettings(parameters)...)
		}
	}
	for _, ability := range []any{s.plugin.Forwarder, s.plugin.Failover} {
		if v, ok := ability.(SettingsValidator); ok {
			problems = append(problems, v.ValidateSettings(parameters)...)
		}
	}
	return problems
}

// takesSettings says that something of the plugin reads the parameters of Configure.
func (s *pluginService) takesSettings() bool {
	return s.plugin.Forwarder != nil || s.plugin.Failover != nil || len(s.configurers()) > 0
}

var interfaceNames = map[pluginv1.Interface]string{
	pluginv1.Interface_INTERFACE_UNSPECIFIED: "kind", pluginv1.Interface_INTERFACE_CHECK: "check",
	pluginv1.Interface_INTERFACE_FORWARD: "forwarder", pluginv1.Interface_INTERFACE_FAILOVER: "failover provider",
}

// hasParameters says that there is something somebody should read.
func hasParameters(parameters json.RawMessage) bool {
	switch string(bytes.TrimSpace(parameters)) {
	case "", "null", "{}":
		return false
	}
	return true
}

// Configure hands the settings to everything the plugin offers.
func (s *pluginService) Configure(ctx context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	beat := r.GetBeatInterval().AsDuration()
	if beat < time.Millisecond || beat > longest {
		return nil, status.Errorf(codes.InvalidArgument, "a beat interval of %s is not between 1ms and %s", beat, longest)
	}
	settings := Settings{
		Name: r.GetName(), Parameters: r.GetParametersJson(), RuntimeDir: r.GetRuntimeDir(),
		BeatInterval: beat, Logger: s.logger,
	}
	configurers := s.configurers()
	if !s.takesSettings() && hasParameters(r.GetParametersJson()) {
		return nil, status.Errorf(codes.InvalidArgument, "plugin %s takes no parameters: leave them out", s.plugin.Name)
	}
	if s.checks != nil {
		s.checks.scheduler.setBeat(beat)
	}
	for _, kind := range slices.Sorted(maps.Keys(configurers)) {
		if err := configurers[kind].Configure(ctx, settings); err != nil {
			return nil, configureStatus(kind, err)
		}
	}
	if s.plugin.Forwarder != nil {
		if err := s.plugin.Forwarder.Configure(ctx, settings); err != nil {
			return nil, configureStatus(s.plugin.ForwarderType, err)
		}
	}
	if s.plugin.Failover != nil {
		if err := s.plugin.Failover.Configure(ctx, settings); err != nil {
			return nil, configureStatus(s.plugin.FailoverType, err)
		}
	}
	return &pluginv1.ConfigureResponse{}, nil
}

// configurers are the checkers that take settings of the process.
func (s *pluginService) configurers() map[string]Configurer {
	out := map[string]Configurer{}
	for kind, c := range s.plugin.Checkers {
		if configurer, ok := c.(Configurer); ok {
			out[kind] = configurer
		}
	}
	return out
}

// configureStatus keeps the code of an error that has one. Without one, a
// *ParameterError is about the settings, and anything else about the machine.
func configureStatus(kind string, err error) error {
	if s, ok := status.FromError(err); ok {
		return status.Error(s.Code(), text(s.Message()))
	}
	code := codes.FailedPrecondition
	var wrong *ParameterError
	if errors.As(err, &wrong) {
		code = codes.InvalidArgument
	}
	return asStatus(fmt.Errorf("configure %s: %w", kind, err), code)
}

// asStatus gives an error a code, unless it has one.
func asStatus(err error, code codes.Code) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	if s, ok := status.FromError(err); ok {
		code = s.Code()
	}
	return status.Error(code, text(err.Error()))
}

// Stop ends the work of everything the plugin offers.
func (s *pluginService) Stop(ctx context.Context, r *pluginv1.StopRequest) (*pluginv1.StopResponse, error) {
	mode := r.GetMode()
	if mode != pluginv1.StopMode_STOP_MODE_LEAVE && mode != pluginv1.StopMode_STOP_MODE_WITHDRAW {
		return nil, status.Errorf(codes.InvalidArgument, "stop mode %d is neither leave nor withdraw", mode)
	}
	var failed []error
	if s.failover != nil {
		failed = append(failed, s.failover.stop(ctx, mode))
	}
	if s.plugin.Forwarder != nil {
		failed = append(failed, s.plugin.Forwarder.Stop(ctx, mode))
	}
	if s.checks != nil {
		failed = append(failed, s.checks.scheduler.stop(ctx))
	}
	if err := errors.Join(failed...); err != nil {
		return nil, asStatus(err, codes.Internal)
	}
	return &pluginv1.StopResponse{}, nil
}
