// Package haproxy opens and closes the region's database proxy by its runtime socket.
package haproxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Pool names one server of the database proxy (deploy/haproxy/haproxy-db.cfg.tmpl).
type Pool string

// The pools: applications that may write, by port 5432, and those that read on a standby, by port 5434.
const (
	Database Pool = "db/local"
	Read     Pool = "read/local"
)

// Proxy is the database proxy. It holds no connection and is safe for concurrent use; calls take at most callTimeout, or less if the context ends before.
type Proxy struct{ socket string }

const callTimeout = time.Second

// New names a proxy by its runtime socket.
func New(socket string) *Proxy { return &Proxy{socket} }

// Open lets sessions in, as long as the proxy's own check of the arbiter passes. A proxy that has restarted has forgotten it.
func (p *Proxy) Open(ctx context.Context, pool Pool) error {
	return p.command(ctx, "open", pool, "set server "+string(pool)+" state ready")
}

// Close lets nobody in and ends all sessions. Draining would end none.
func (p *Proxy) Close(ctx context.Context, pool Pool) error {
	return p.command(ctx, "close", pool, "set server "+string(pool)+" state maint; shutdown sessions server "+string(pool))
}

// maintenance are the bits of srv_admin_state that keep a server out: forced, inherited, by name resolution. The bit that tells of the configuration's "disabled"
// stays after the server was set ready.
const maintenance = 0x01 | 0x02 | 0x20

// Opened says which pools are set to let sessions in, whatever their checks say.
func (p *Proxy) Opened(ctx context.Context) (map[Pool]bool, error) {
	answer, err := p.ask(ctx, "show servers state")
	if err != nil {
		return nil, fmt.Errorf("read the proxy's servers: %w", err)
	}
	opened := map[Pool]bool{}
	for line := range strings.Lines(answer) {
		// be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ...
		fields := strings.Fields(line)
		if len(fields) < 7 || strings.HasPrefix(line, "#") {
			continue
		}
		state, err := strconv.Atoi(fields[6])
		if err != nil {
			return nil, fmt.Errorf("read the proxy's servers: admin state %q of %s is not a number", fields[6], fields[1])
		}
		opened[Pool(fields[1]+"/"+fields[3])] = state&maintenance == 0
	}
	for _, pool := range []Pool{Database, Read} {
		if _, found := opened[pool]; !found {
			return nil, fmt.Errorf("read the proxy's servers: it has no %s", pool)
		}
	}
	return opened, nil
}

// command sends what answers nothing when it is done.
func (p *Proxy) command(ctx context.Context, verb string, pool Pool, line string) error {
	answer, err := p.ask(ctx, line)
	if err == nil && strings.TrimSpace(answer) != "" {
		err = fmt.Errorf("the proxy says %q", strings.TrimSpace(answer))
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, pool, err)
	}
	return nil
}

func (p *Proxy) ask(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", p.socket)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(connection, line+"\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(io.LimitReader(connection, 1<<20))
	return string(answer), err
}
