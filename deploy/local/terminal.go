package local

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// terminal prints one line a component as it becomes ready or fails, and progress. It is used by many goroutines.
type terminal struct {
	mu   sync.Mutex
	out  io.Writer
	last map[string]supervise.State
}

func newTerminal(out io.Writer) *terminal {
	return &terminal{out: out, last: map[string]supervise.State{}}
}

func (t *terminal) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintf(t.out, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// component prints a unit's change of state, but not each attempt of one that keeps failing.
func (t *terminal) component(status supervise.Status) {
	id := supervise.Spec{Name: status.Name, Region: status.Region}.ID()
	t.mu.Lock()
	before := t.last[id]
	interesting := status.State == supervise.Ready || status.State == supervise.Held || status.State == supervise.BackOff
	if !interesting || before == status.State {
		t.mu.Unlock()
		return
	}
	t.last[id] = status.State
	t.mu.Unlock()
	detail := status.Addr
	if status.State != supervise.Ready {
		detail = status.Reason
	}
	t.say("%-26s %-9s %s", id, status.State, detail)
}

// ready says what is where.
func (t *terminal) ready(l layout.Layout, took time.Duration) {
	a := l.Addressing
	lines := []string{
		fmt.Sprintf("ready after %s", took.Round(time.Second)),
		"",
		fmt.Sprintf("  Odoo, region a     http://%s", a.Addr(layout.A, layout.PortWebProxy)),
		fmt.Sprintf("  Odoo, region b     http://%s", a.Addr(layout.B, layout.PortWebProxy)),
		fmt.Sprintf("  DNS                dig @%s -p %d %s", a.Outside, layout.PortDNS, layout.Name),
		fmt.Sprintf("  PostgreSQL         %s (through the proxy, while the region holds the mandate)", a.Addr(layout.A, layout.PortDatabaseProxy)),
		fmt.Sprintf("  Prometheus         http://%s", a.Addr(layout.A, layout.PortPrometheus)),
		fmt.Sprintf("  Console            %s", consoleLink(l)),
		"                     (the link opens once; ofitec console prints another)",
		fmt.Sprintf("  data and logs      %s", l.Root),
		"",
		"  ofitec status, ofitec doctor, ofitec events tail; Ctrl-C stops everything",
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = fmt.Fprintln(t.out, strings.Join(lines, "\n"))
}

// consoleLink is the page's one-time link, or its address where the link cannot be read.
func consoleLink(l layout.Layout) string {
	content, err := os.ReadFile(l.ConsoleLinkFile())
	if err != nil {
		return fmt.Sprintf("http://%s:%d", l.Addressing.Console, layout.PortConsole)
	}
	return strings.TrimSpace(string(content))
}
