package failover

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poise-lb/poise/core/model"
	"github.com/poise-lb/poise/internal/grpctest"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
	pluginv1 "github.com/poise-lb/poise/proto/poise/plugin/v1"
)

// fakePlugin takes sets and says what the test tells it to.
type fakePlugin struct {
	failoverv1.UnimplementedFailoverServiceServer
	sets chan *failoverv1.SetGroups
	say  chan *failoverv1.RunResponse
}

func (f *fakePlugin) Run(stream grpc.BidiStreamingServer[failoverv1.RunRequest, failoverv1.RunResponse]) error {
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				return
			}
			f.sets <- r.GetSetGroups()
		}
	}()
	for {
		select {
		case m, ok := <-f.say:
			if !ok {
				return errors.New("the fake was told to break")
			}
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

type session struct {
	conn  *grpc.ClientConn
	beats chan uint64
}

func (s session) Conn() grpc.ClientConnInterface { return s.conn }
func (s session) Beat(progress uint64)           { s.beats <- progress }

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came within 10 s")
		panic("unreachable")
	}
}

func TestSession(t *testing.T) {
	f := &fakePlugin{sets: make(chan *failoverv1.SetGroups, 10), say: make(chan *failoverv1.RunResponse)}
	conn := grpctest.Serve(t, func(s *grpc.Server) { failoverv1.RegisterFailoverServiceServer(s, f) })
	roles := make(chan model.RoleState, 10)
	notices := make(chan string, 10)
	facade := New(hclog.NewNullLogger(), Handlers{
		Role:   func(_ string, r model.RoleState) { roles <- r },
		Notice: func(object, message string, _ time.Time) { notices <- object + ": " + message },
	})
	s := session{conn, make(chan uint64, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- facade.Run(ctx, s) }()

	facade.Set(model.GroupSet{Generation: 1, GraceTime: 3 * time.Second, Groups: []model.FailoverGroup{{Name: "VGM", Instances: []model.Instance{{
		Name: "http", Interface: "eth0", VirtualRouterID: 51, Priority: 100, AdvertInterval: time.Second, AuthPass: "1111",
		Source:    netip.MustParseAddr("192.0.2.2"),
		Addresses: []model.VirtualAddress{{Prefix: netip.MustParsePrefix("192.0.2.100/32"), Label: "eth0:1"}},
	}}}}})
	set := receive(t, f.sets)
	if set.GetCoreLossGrace().AsDuration() != 3*time.Second || len(set.GetGroups()) != 1 {
		t.Fatalf("sent %v", set)
	}
	i := set.GetGroups()[0].GetInstances()[0]
	if i.GetVirtualRouterId() != 51 || i.GetPriority() != 100 || i.GetAuthPass() != "1111" || i.GetSourceAddress() != "192.0.2.2" ||
		i.GetAdvertInterval().AsDuration() != time.Second || i.GetAddresses()[0].GetPrefix() != "192.0.2.100/32" || i.GetAddresses()[0].GetLabel() != "eth0:1" {
		t.Errorf("sent %v, want the instance as it is configured", i)
	}

	at := time.Now().UTC()
	f.say <- &failoverv1.RunResponse{Message: &failoverv1.RunResponse_RoleChange{RoleChange: &failoverv1.RoleChange{Group: "VGM"}}}
	f.say <- &failoverv1.RunResponse{Message: &failoverv1.RunResponse_RoleChange{RoleChange: &failoverv1.RoleChange{
		Group: "VGM", Role: failoverv1.Role_ROLE_MASTER, Reason: "no advert", At: timestamppb.New(at)}}}
	if got, want := receive(t, roles), (model.RoleState{Role: model.Master, Reason: "no advert", Since: at}); got != want {
		t.Errorf("role %v, want %v; one without a role is to be ignored", got, want)
	}
	f.say <- &failoverv1.RunResponse{Message: &failoverv1.RunResponse_Notice{Notice: &failoverv1.Notice{Group: "VGM", Instance: "http", Message: "address put back", At: timestamppb.New(at)}}}
	if got := receive(t, notices); got != "VGM/http: address put back" {
		t.Errorf("notice %q", got)
	}
	short, cancelShort := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancelShort()
	if err := facade.Settled(short); err == nil {
		t.Error("settled before the process said so")
	}
	f.say <- &failoverv1.RunResponse{Message: &failoverv1.RunResponse_Applied{Applied: &failoverv1.Applied{Generation: 1, Rejected: []*failoverv1.Rejected{{Group: "X", Message: "no such thing"}}}}}
	if got := receive(t, notices); got != "X: cannot be run: no such thing" {
		t.Errorf("notice %q", got)
	}
	if err := facade.Settled(ctx); err != nil {
		t.Error(err)
	}
	f.say <- &failoverv1.RunResponse{Message: &failoverv1.RunResponse_Beat{Beat: &failoverv1.Beat{Beat: &pluginv1.Beat{Progress: 3},
		Instances: []*failoverv1.InstanceStatus{{Group: "VGM", Instance: "http", AdvertsSent: 4, PacketErrors: map[string]uint64{"ttl": 2}}}}}}
	if p := receive(t, s.beats); p != 3 {
		t.Errorf("beat %d, want 3", p)
	}
	if got := facade.Instances(); len(got) != 1 || got[0].AdvertsSent != 4 || got[0].PacketErrors["ttl"] != 2 {
		t.Errorf("instances %+v", got)
	}
	close(f.say)
	if err := receive(t, done); err == nil {
		t.Error("a broken stream ended the session without an error")
	}
}
