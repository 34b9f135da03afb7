package haproxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ofitec/ofitec/events/state"
)

// fake answers like a runtime socket. A real HAProxy is in the service's own tests.
type fake struct {
	mu          sync.Mutex
	blue, green int
	down        bool // green is
	asked       []string
}

func (f *fake) serve(t *testing.T) Proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "of") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(connection).ReadString('\n')
			fmt.Fprint(connection, f.answer(strings.TrimSpace(line)))
			connection.Close()
		}
	}()
	return Proxy{Socket: filepath.Join(dir, "s"), ActiveFile: filepath.Join(dir, "active")}
}

func (f *fake) answer(line string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.HasPrefix(line, "show stat") {
		status := "UP"
		if f.down {
			status = "DOWN"
		}
		return fmt.Sprintf("# pxname,svname,qcur,scur,status,weight,\nodoo,blue,1,2,UP 1/2,%d,\nodoo,green,,0,%s,%d,\n\n", f.blue, status, f.green)
	}
	f.asked = append(f.asked, line)
	for command := range strings.SplitSeq(line, "; ") {
		var colour string
		var weight int
		if _, err := fmt.Sscanf(strings.ReplaceAll(command, "/", " "), "set weight odoo %s %d", &colour, &weight); err != nil {
			return "Unknown command\n"
		}
		if colour == "blue" {
			f.blue = weight
		} else {
			f.green = weight
		}
	}
	return "\n"
}

func TestTheTrafficMovesInOneCommandAndAFileKeepsWhere(t *testing.T) {
	f := &fake{blue: 100}
	p := f.serve(t)
	if hot, err := p.Hot(t.Context()); err != nil || hot != state.Blue {
		t.Fatalf("%s, %v", hot, err)
	}
	servers, err := p.Servers(t.Context())
	if err != nil || servers[state.Blue] != (Server{Weight: 100, Up: true, Open: 3}) || servers[state.Green] != (Server{Up: true}) {
		t.Errorf("%+v, %v", servers, err)
	}
	for range 2 { // the second time nothing is left to do
		if err := p.Switch(t.Context(), state.Green); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.asked) != 1 || f.asked[0] != "set weight odoo/green 100; set weight odoo/blue 0" {
		t.Errorf("asked %q", f.asked)
	}
	if content, _ := os.ReadFile(p.ActiveFile); string(content) != "green\n" {
		t.Errorf("the file holds %q", content)
	}
}

func TestAColourThatIsDownGetsNoTrafficAndOneThatHasItKeepsIt(t *testing.T) {
	f := &fake{blue: 100, down: true}
	p := f.serve(t)
	if err := p.Switch(t.Context(), state.Green); err == nil || len(f.asked) > 0 {
		t.Errorf("%v, asked %q", err, f.asked)
	}
	if _, err := os.Stat(p.ActiveFile); err == nil {
		t.Error("the file was written")
	}
	f.blue, f.green = 0, 100
	if err := p.Switch(t.Context(), state.Green); err != nil {
		t.Errorf("it has the traffic already: %v", err)
	}
}

func TestWhileBothColoursHaveTrafficTheFileSaysWhichIsMeant(t *testing.T) {
	f := &fake{blue: 100, green: 100}
	p := f.serve(t)
	if _, err := p.Hot(t.Context()); err == nil {
		t.Error("nobody can know that")
	}
	for content, want := range map[string]state.Colour{"green\n": state.Green, "red": ""} {
		if err := os.WriteFile(p.ActiveFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if hot, err := p.Hot(t.Context()); hot != want || (err == nil) != (want != "") {
			t.Errorf("%q: %s, %v", content, hot, err)
		}
	}
	f.blue, f.green = 0, 0
	if _, err := p.Hot(t.Context()); err == nil || !strings.Contains(err.Error(), "neither colour") {
		t.Errorf("no traffic at all: %v", err)
	}
	if _, err := (Proxy{Socket: "/nowhere"}).Hot(t.Context()); err == nil {
		t.Error("there is no proxy")
	}
}
