package failover

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/poise-lb/poise/core/model"
	failoverv1 "github.com/poise-lb/poise/proto/poise/failover/v1"
)

// Session is a running failover process.
type Session interface {
	Conn() grpc.ClientConnInterface
	Beat(progress uint64)
}

// Handlers take what the facade has to tell. They must not block.
type Handlers struct {
	// Role tells a group's role, also when it is the one that is known.
	Role func(group string, role model.RoleState)
	// Notice tells something an operator should know.
	Notice func(object, message string, at time.Time)
}

// InstanceStatus is what one instance has seen.
type InstanceStatus struct {
	Group, Instance string
	Role            model.Role
	MasterAddress   string
	MasterPriority  uint32
	AdvertsSent     uint64
	AdvertsReceived uint64
	BecameMaster    uint64
	// PacketErrors by reason.
	PacketErrors      map[string]uint64
	AddressesRestored uint64
}

// Failover speaks with one failover process at a time.
type Failover struct {
	logger   hclog.Logger
	handlers Handlers
	changed  chan struct{}

	mu    sync.Mutex
	want  model.GroupSet
	ready bool
	// inForce is the generation that the process of now has put in force; 0: none, or no
	// process.
	inForce   uint64
	instances []InstanceStatus
}

// New makes the facade.
func New(logger hclog.Logger, handlers Handlers) *Failover {
	return &Failover{logger: logger, handlers: handlers, changed: make(chan struct{}, 1)}
}

// Set gives the groups that should run. It does not block; the newest set wins.
func (f *Failover) Set(set model.GroupSet) {
	f.mu.Lock()
	f.want, f.ready = set, true
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// Settled waits until the process of now runs the groups that should run; after it a
// stop finds all that there is to withdraw.
func (f *Failover) Settled(ctx context.Context) error {
	tick := time.NewTicker(settledLook)
	defer tick.Stop()
	for {
		f.mu.Lock()
		settled := f.ready && f.inForce >= f.want.Generation
		f.mu.Unlock()
		if settled {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for the failover groups to be in force: %w", ctx.Err())
		}
	}
}

func (f *Failover) setInForce(generation uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inForce = generation
}

// settledLook is how often Settled looks.
const settledLook = 5 * time.Millisecond

// Instances are the last known counters.
func (f *Failover) Instances() []InstanceStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.instances
}

// Run serves one process until its stream breaks or ctx is done.
func (f *Failover) Run(ctx context.Context, s Session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := failoverv1.NewFailoverServiceClient(s.Conn()).Run(ctx)
	if err != nil {
		return fmt.Errorf("open the stream of groups: %w", err)
	}
	defer f.setInForce(0)
	received := make(chan error, 1)
	go func() { received <- f.receive(stream, s) }()
	for {
		f.mu.Lock()
		set, ready := f.want, f.ready
		f.mu.Unlock()
		if ready {
			if err := stream.Send(&failoverv1.RunRequest{Message: &failoverv1.RunRequest_SetGroups{SetGroups: encodeSet(set)}}); err != nil {
				// The receiver knows why the stream ended; Send says only that it did.
				return fmt.Errorf("send %d failover groups: %w", len(set.Groups), <-received)
			}
		}
		select {
		case <-f.changed:
		case err := <-received:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *Failover) receive(stream grpc.BidiStreamingClient[failoverv1.RunRequest, failoverv1.RunResponse], s Session) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive roles: %w", err)
		}
		switch m := response.GetMessage().(type) {
		case *failoverv1.RunResponse_RoleChange:
			f.takeRole(m.RoleChange)
		case *failoverv1.RunResponse_Beat:
			f.takeBeat(m.Beat)
			s.Beat(m.Beat.GetBeat().GetProgress())
		case *failoverv1.RunResponse_Notice:
			object := m.Notice.GetGroup()
			if m.Notice.GetInstance() != "" {
				object += "/" + m.Notice.GetInstance()
			}
			f.handlers.Notice(object, m.Notice.GetMessage(), m.Notice.GetAt().AsTime())
		case *failoverv1.RunResponse_Applied:
			f.setInForce(m.Applied.GetGeneration())
			for _, r := range m.Applied.GetRejected() {
				f.logger.Error("failover group cannot be run", "group", r.GetGroup(), "reason", r.GetMessage())
				f.handlers.Notice(r.GetGroup(), "cannot be run: "+r.GetMessage(), time.Now())
			}
		}
	}
}

var roles = map[failoverv1.Role]model.Role{
	failoverv1.Role_ROLE_MASTER: model.Master,
	failoverv1.Role_ROLE_BACKUP: model.Backup,
	failoverv1.Role_ROLE_FAULT:  model.Fault,
}

func (f *Failover) takeRole(c *failoverv1.RoleChange) {
	role, ok := roles[c.GetRole()]
	if !ok {
		f.logger.Warn("role change without a role ignored", "group", c.GetGroup())
		return
	}
	f.handlers.Role(c.GetGroup(), model.RoleState{Role: role, Reason: c.GetReason(), Since: c.GetAt().AsTime()})
}

func (f *Failover) takeBeat(b *failoverv1.Beat) {
	instances := make([]InstanceStatus, 0, len(b.GetInstances()))
	for _, i := range b.GetInstances() {
		instances = append(instances, InstanceStatus{
			Group: i.GetGroup(), Instance: i.GetInstance(), Role: roles[i.GetRole()],
			MasterAddress: i.GetMasterAddress(), MasterPriority: i.GetMasterPriority(),
			AdvertsSent: i.GetAdvertsSent(), AdvertsReceived: i.GetAdvertsReceived(), BecameMaster: i.GetBecameMaster(),
			PacketErrors: i.GetPacketErrors(), AddressesRestored: i.GetAddressesRestored(),
		})
	}
	f.mu.Lock()
	f.instances = instances
	f.mu.Unlock()
}
