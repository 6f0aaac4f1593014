package control

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/printable"
	controlv1 "github.com/poise-lb/poise/proto/poise/control/v1"
)

// RestartPlugin implements poise.control.v1.
func (s *Server) RestartPlugin(ctx context.Context, r *controlv1.RestartPluginRequest) (*controlv1.RestartPluginResponse, error) {
	if _, err := s.findPlugin(r.GetName()); err != nil {
		return nil, err
	}
	previous, err := s.daemon.RestartPlugin(ctx, r.GetName())
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, status.Errorf(codes.FailedPrecondition, "%s; the process that runs goes on", printable.Text(refused.Reason))
	case err != nil:
		return nil, status.Error(codes.Internal, printable.Text(err.Error()))
	}
	now, err := s.findPlugin(r.GetName())
	return &controlv1.RestartPluginResponse{Plugin: now, PreviousSha256: previous}, err
}

// findPlugin gives a process as it is now.
func (s *Server) findPlugin(name string) (*controlv1.Plugin, error) {
	var names []string
	checkers := s.daemon.Checkers()
	for _, p := range s.daemon.Plugins() {
		if p.Name == name {
			return encodePlugin(p, checkers), nil
		}
		names = append(names, p.Name)
	}
	return nil, onlyOne("plugin", "", name, nil, names)
}

// DescribePlugin implements poise.control.v1.
func (s *Server) DescribePlugin(ctx context.Context, r *controlv1.DescribePluginRequest) (*controlv1.DescribePluginResponse, error) {
	names := s.daemon.CheckTypes()
	for _, p := range s.daemon.Plugins() {
		names = append(names, p.Name)
	}
	d, err := s.daemon.DescribePlugin(ctx, r.GetName())
	if err != nil {
		if !slices.Contains(names, r.GetName()) {
			return nil, onlyOne("plugin or type of check", "", r.GetName(), nil, names)
		}
		return nil, status.Error(codes.Unavailable, printable.Text(err.Error()))
	}
	out := &controlv1.DescribePluginResponse{OwnName: printable.Text(d.Name)}
	if out.Plugin, err = s.findPlugin(d.Process); err != nil {
		out.Plugin = encodePlugin(model.PluginStatus{Name: d.Process, Version: d.Version}, nil)
	}
	for _, k := range d.Kinds {
		out.Kinds = append(out.Kinds, &controlv1.PluginKind{Interface: k.Interface, Type: printable.Text(k.Type), ParametersSchemaJson: k.Schema})
	}
	return out, nil
}
