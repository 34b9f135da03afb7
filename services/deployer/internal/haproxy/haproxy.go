// Package haproxy moves the traffic between the two colours by the web proxy's runtime socket, and keeps in a file which of them has it, for the proxy's next start.
package haproxy

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// backend is the name in deploy/haproxy/haproxy-web.cfg.tmpl; its servers have the colours' names.
const backend = "odoo"

const callTimeout = time.Second

// Proxy is the web proxy of a region. It holds no connection and is safe for concurrent use.
type Proxy struct {
	Socket string // runtime socket, level admin
	Active active.File
}

// Server is what the proxy says of one colour.
type Server struct {
	Weight int
	Up     bool
	Open   int // requests that it works on, waiting ones included
}

// Traffic is where the weights send it. While both colours have some, the hot one is that in the file.
func (p Proxy) Traffic(ctx context.Context) (rollout.Traffic, error) {
	servers, err := p.Servers(ctx)
	if err != nil {
		return rollout.Traffic{}, err
	}
	traffic, err := p.Active.Weighed(servers[state.Blue].Weight, servers[state.Green].Weight)
	if err != nil {
		return rollout.Traffic{}, fmt.Errorf("read the web proxy's servers: %w", err)
	}
	traffic.Open = servers[rollout.Other(traffic.Hot)].Open
	return traffic, nil
}

// Give gives a colour its share, in one command. With all of it the file says so first: a proxy that restarts in between does the same, and one that restarts under a
// smaller share gives the other colour everything. A colour that the proxy does not see up gets nothing. It does nothing to a proxy that does so already.
func (p Proxy) Give(ctx context.Context, to state.Colour, percent int) error {
	servers, err := p.Servers(ctx)
	if err != nil {
		return err
	}
	other := rollout.Other(to)
	given := servers[to].Weight > 0 && servers[to].Weight*(100-percent) == servers[other].Weight*percent
	if !given && !servers[to].Up {
		return fmt.Errorf("switch to %s: the web proxy does not see it up", to)
	}
	keep := other
	if percent == 100 {
		keep = to
	}
	if err := p.Active.Write(keep); err != nil || given {
		return err
	}
	answer, err := p.ask(ctx, fmt.Sprintf("set weight %s/%s %d; set weight %s/%s %d", backend, to, percent, backend, other, 100-percent))
	if err == nil && strings.TrimSpace(answer) != "" {
		err = fmt.Errorf("the web proxy says %q", strings.TrimSpace(answer))
	}
	if err != nil {
		return fmt.Errorf("switch to %s: %w", to, err)
	}
	return nil
}

// Servers reads both colours.
func (p Proxy) Servers(ctx context.Context) (map[state.Colour]Server, error) {
	answer, err := p.ask(ctx, "show stat "+backend+" 4 -1")
	if err != nil {
		return nil, fmt.Errorf("read the web proxy's servers: %w", err)
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(strings.TrimSpace(answer), "# "))).ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("read the web proxy's servers: its table is none: %w", err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	servers := map[state.Colour]Server{}
	for _, row := range rows[1:] {
		number := func(name string) int {
			n, _ := strconv.Atoi(row[column[name]]) // an empty field is 0
			return n
		}
		if row[column["pxname"]] == backend {
			servers[state.Colour(row[column["svname"]])] = Server{
				Weight: number("weight"), Up: strings.HasPrefix(row[column["status"]], "UP"), Open: number("scur") + number("qcur"),
			}
		}
	}
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		if _, found := servers[colour]; !found {
			return nil, fmt.Errorf("read the web proxy's servers: it has no %s/%s", backend, colour)
		}
	}
	return servers, nil
}

// Forgotten says that nothing was ever switched on this machine.
func (p Proxy) Forgotten() bool { return p.Active.Forgotten() }

func (p Proxy) ask(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", p.Socket)
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
