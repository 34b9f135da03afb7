// Package haproxy moves the traffic between the two colours by the web proxy's runtime socket, and keeps in a file which of them has it, for the proxy's next start.
package haproxy

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events/state"
)

// backend is the name in deploy/haproxy/haproxy-web.cfg.tmpl; its servers have the colours' names.
const backend = "odoo"

const callTimeout = time.Second

// Proxy is the web proxy of a region. It holds no connection and is safe for concurrent use.
type Proxy struct {
	Socket     string // runtime socket, level admin
	ActiveFile string // where the colour with traffic is kept
}

// Server is what the proxy says of one colour.
type Server struct {
	Weight int
	Up     bool
	Open   int // requests that it works on, waiting ones included
}

// Hot is the colour with traffic. While both have some, as between two commands or on somebody's wish, it is the one in the file.
func (p Proxy) Hot(ctx context.Context) (state.Colour, error) {
	servers, err := p.Servers(ctx)
	if err != nil {
		return "", err
	}
	blue, green := servers[state.Blue].Weight > 0, servers[state.Green].Weight > 0
	switch {
	case blue && green:
		return p.kept()
	case blue:
		return state.Blue, nil
	case green:
		return state.Green, nil
	}
	return "", errors.New("read the web proxy's servers: neither colour has a weight; give one with: set weight odoo/<colour> 100")
}

// Switch gives a colour all of the traffic, in one command, after the file says so: a proxy that restarts in between does the same. A colour that the proxy does not
// see up gets nothing. It does nothing to a proxy that is switched.
func (p Proxy) Switch(ctx context.Context, to state.Colour) error {
	servers, err := p.Servers(ctx)
	if err != nil {
		return err
	}
	other := state.Blue
	if to == state.Blue {
		other = state.Green
	}
	switched := servers[to].Weight > 0 && servers[other].Weight == 0
	if !switched && !servers[to].Up {
		return fmt.Errorf("switch to %s: the web proxy does not see it up", to)
	}
	if err := p.keep(to); err != nil || switched {
		return err
	}
	answer, err := p.ask(ctx, fmt.Sprintf("set weight %s/%s 100; set weight %s/%s 0", backend, to, backend, other))
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

// Forgotten says that there is no file, as on a machine on which nothing was ever switched.
func (p Proxy) Forgotten() bool {
	_, err := os.Stat(p.ActiveFile)
	return errors.Is(err, os.ErrNotExist)
}

func (p Proxy) kept() (state.Colour, error) {
	content, err := os.ReadFile(p.ActiveFile)
	if err != nil {
		return "", fmt.Errorf("both colours have traffic; read which one should: %w", err)
	}
	colour := state.Colour(strings.TrimSpace(string(content)))
	if colour != state.Blue && colour != state.Green {
		return "", fmt.Errorf("both colours have traffic; %s holds %q, want blue or green", p.ActiveFile, colour)
	}
	return colour, nil
}

// keep writes the file durably, unless it says the same.
func (p Proxy) keep(colour state.Colour) error {
	content := []byte(colour + "\n")
	if have, err := os.ReadFile(p.ActiveFile); err == nil && string(have) == string(content) {
		return nil
	}
	temporary := p.ActiveFile + ".new"
	handle, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644) //nolint:gosec // G302: no secret, and whoever starts the proxy reads it as another user
	if err != nil {
		return fmt.Errorf("keep the active colour: %w", err)
	}
	_, err = handle.Write(content)
	err = errors.Join(err, handle.Sync(), handle.Close())
	if err == nil {
		err = os.Rename(temporary, p.ActiveFile)
	}
	if err != nil {
		return fmt.Errorf("keep the active colour: %w", err)
	}
	dir, err := os.Open(filepath.Dir(p.ActiveFile))
	if err != nil {
		return fmt.Errorf("keep the active colour: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("keep the active colour: %w", err)
	}
	return nil
}

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
