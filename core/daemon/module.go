package daemon

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	// ipvsTable is there when the kernel has IPVS (net/netfilter/ipvs/ip_vs_ctl.c).
	ipvsTable   = "/proc/net/ip_vs"
	modprobeMax = 5 * time.Second
)

// loadIPVS has the kernel load IPVS if it is missing, as keepalived and ipvsadm do. The
// forwarder has no privilege for it. A failure is told by the forwarder, which finds no
// IPVS and says what to do.
func (d *Daemon) loadIPVS(ctx context.Context) {
	if _, err := os.Stat(ipvsTable); err == nil || os.Geteuid() != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, modprobeMax)
	defer cancel()
	out, err := exec.CommandContext(ctx, "modprobe", "ip_vs").CombinedOutput()
	if err != nil {
		d.logger.Debug("modprobe ip_vs failed", "error", err, "output", strings.TrimSpace(string(out)))
		return
	}
	d.logger.Info("the kernel had no IPVS: loaded the module ip_vs")
}
