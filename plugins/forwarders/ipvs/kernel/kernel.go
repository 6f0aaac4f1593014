package kernel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"

	"github.com/cloudflare/ipvs"

	"github.com/poise-lb/poise/plugins/forwarders/ipvs/genl"
	"github.com/poise-lb/poise/plugins/forwarders/ipvs/table"
)

// ErrNoIPVS says that the kernel cannot forward.
var ErrNoIPVS = errors.New("the kernel has no IPVS: load it with `modprobe ip_vs` (a kernel built without CONFIG_IP_VS cannot), and list it in /etc/modules-load.d/ so that it is there after a boot")

// ErrNotPermitted says what privilege is missing.
var ErrNotPermitted = errors.New("the kernel does not let this process use IPVS: it needs CAP_NET_ADMIN")

// Kernel is an open connection. It is not for concurrent use.
type Kernel struct {
	reader ipvs.Client
	conn   *genl.Conn
}

// Open connects to the kernel.
func Open() (*Kernel, error) {
	conn, err := genl.Open()
	if err != nil {
		return nil, explain(err)
	}
	reader, err := ipvs.New()
	if err != nil {
		conn.Close()
		return nil, explain(err)
	}
	return &Kernel{reader: reader, conn: conn}, nil
}

// Close closes the connection. The table stays.
func (k *Kernel) Close() error {
	err := k.conn.Close()
	if c, ok := k.reader.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Run carries operations out in order and gives the error of each: the kernel's errno, or
// genl.ErrLost.
func (k *Kernel) Run(ops []table.Op) []error { return k.conn.Run(ops) }

// Read gives the table with its counters.
func (k *Kernel) Read() (table.State, error) {
	services, err := k.services()
	if err != nil {
		return table.State{}, err
	}
	state := table.State{Services: make([]table.Virtual, 0, len(services))}
	persistent := false
	for _, s := range services {
		v := table.Virtual{Service: decodeService(s.Service), Counters: decodeStats(s.Stats, s.Stats64)}
		persistent = persistent || v.Service.Flags&table.Persistent != 0
		if v.Reals, err = k.conn.Destinations(v.Service.Key); err != nil {
			return table.State{}, explain(err)
		}
		state.Services = append(state.Services, v)
	}
	if persistent {
		if err := k.readEngines(state.Services); err != nil {
			return table.State{}, err
		}
	}
	if state.Syncs, err = k.conn.Syncs(); err != nil {
		return table.State{}, explain(err)
	}
	return state, nil
}

// services lists the services. The library tells an empty table by os.ErrNotExist itself;
// what the kernel refuses wraps an errno.
func (k *Kernel) services() ([]ipvs.ServiceExtended, error) {
	services, err := k.reader.Services()
	if err == os.ErrNotExist {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the virtual servers: %w", explain(err))
	}
	return services, nil
}

// readEngines adds the persistence engines, which the library does not read. They matter
// with persistence only.
func (k *Kernel) readEngines(services []table.Virtual) error {
	engines, err := k.conn.Engines()
	if err != nil {
		return explain(err)
	}
	for i := range services {
		s := &services[i].Service
		s.Engine = engines[s.Key]
	}
	return nil
}

// Probe shows by a write and a read that IPVS is there, and says what it is. The write is
// the least disturbing that there is: a service for a firewall mark that no service has,
// without scheduler and real servers, added and removed in one send.
func (k *Kernel) Probe() (platform string, err error) {
	services, err := k.services()
	if err != nil {
		return "", err
	}
	marks := map[uint32]bool{0: true}
	for _, s := range services {
		marks[s.FWMark] = true
	}
	mark := uint32(0)
	for marks[mark] {
		mark = rand.Uint32()
	}
	trial := table.Service{Key: table.Key{Mark: mark}, Scheduler: "none", Prefix: 32}
	if err := k.conn.ProbeWrite(trial); err != nil {
		return "", explain(err)
	}
	info, err := k.reader.Info()
	if err != nil {
		return "", fmt.Errorf("read the version of IPVS: %w", explain(err))
	}
	v := info.Version
	return fmt.Sprintf("IPVS %d.%d.%d, connection table size %d", v[0], v[1], v[2], info.ConnectionTableSize), nil
}

// explain makes errors of the connection as a whole say what to do.
func explain(err error) error {
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w (%w)", ErrNotPermitted, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.EPROTONOSUPPORT):
		return fmt.Errorf("%w (%w)", ErrNoIPVS, err)
	}
	return err
}
