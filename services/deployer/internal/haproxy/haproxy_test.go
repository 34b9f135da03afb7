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
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
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
	return Proxy{Socket: filepath.Join(dir, "s"), Active: active.File(filepath.Join(dir, "active"))}
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
	if now, err := p.Traffic(t.Context()); err != nil || now != (rollout.Traffic{Hot: state.Blue}) {
		t.Fatalf("%+v, %v", now, err)
	}
	servers, err := p.Servers(t.Context())
	if err != nil || servers[state.Blue] != (Server{Weight: 100, Up: true, Open: 3}) || servers[state.Green] != (Server{Up: true}) {
		t.Errorf("%+v, %v", servers, err)
	}
	for range 2 { // the second time nothing is left to do
		if err := p.Give(t.Context(), state.Green, 100); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.asked) != 1 || f.asked[0] != "set weight odoo/green 100; set weight odoo/blue 0" {
		t.Errorf("asked %q", f.asked)
	}
	if content, _ := os.ReadFile(string(p.Active)); string(content) != "green\n" {
		t.Errorf("the file holds %q", content)
	}
}

func TestAColourThatIsDownGetsNoTrafficAndOneThatHasItKeepsIt(t *testing.T) {
	f := &fake{blue: 100, down: true}
	p := f.serve(t)
	if err := p.Give(t.Context(), state.Green, 100); err == nil || len(f.asked) > 0 {
		t.Errorf("%v, asked %q", err, f.asked)
	}
	if _, err := os.Stat(string(p.Active)); err == nil {
		t.Error("the file was written")
	}
	f.blue, f.green = 0, 100
	if err := p.Give(t.Context(), state.Green, 100); err != nil {
		t.Errorf("it has the traffic already: %v", err)
	}
}

func TestWhileBothColoursHaveTrafficTheFileSaysWhichIsMeant(t *testing.T) {
	f := &fake{blue: 100, green: 100}
	p := f.serve(t)
	if _, err := p.Traffic(t.Context()); err == nil {
		t.Error("nobody can know that")
	}
	for content, want := range map[string]state.Colour{"green\n": state.Green, "red": ""} {
		if err := os.WriteFile(string(p.Active), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if now, err := p.Traffic(t.Context()); now.Hot != want || (err == nil) != (want != "") {
			t.Errorf("%q: %+v, %v", content, now, err)
		}
	}
	f.blue, f.green = 0, 0
	if _, err := p.Traffic(t.Context()); err == nil || !strings.Contains(err.Error(), "neither colour") {
		t.Errorf("no traffic at all: %v", err)
	}
	if _, err := (Proxy{Socket: "/nowhere"}).Traffic(t.Context()); err == nil {
		t.Error("there is no proxy")
	}
}

func TestAShareIsGivenAndTakenBackAndARestartOfTheProxyWouldGiveTheOtherColourEverything(t *testing.T) {
	f := &fake{blue: 100}
	p := f.serve(t)
	for _, c := range []struct {
		to      state.Colour
		percent int
		want    rollout.Traffic
		kept    string
	}{
		{state.Green, 10, rollout.Traffic{Hot: state.Blue, Share: 10}, "blue\n"},
		{state.Green, 10, rollout.Traffic{Hot: state.Blue, Share: 10}, "blue\n"},
		{state.Green, 50, rollout.Traffic{Hot: state.Blue, Share: 50}, "blue\n"},
		{state.Blue, 100, rollout.Traffic{Hot: state.Blue}, "blue\n"},
		{state.Green, 99, rollout.Traffic{Hot: state.Blue, Share: 99}, "blue\n"},
		{state.Green, 100, rollout.Traffic{Hot: state.Green, Open: 3}, "green\n"},
	} {
		if err := p.Give(t.Context(), c.to, c.percent); err != nil {
			t.Fatal(err)
		}
		if now, err := p.Traffic(t.Context()); err != nil || now != c.want {
			t.Errorf("after %d %% for %s: %+v, %v; want %+v", c.percent, c.to, now, err, c.want)
		}
		if kept, _ := os.ReadFile(string(p.Active)); string(kept) != c.kept {
			t.Errorf("after %d %% for %s the file holds %q", c.percent, c.to, kept)
		}
	}
	if len(f.asked) != 5 {
		t.Errorf("asked %q", f.asked)
	}
	f.blue, f.green = 255, 1 // by hand
	if err := p.Active.Write(state.Blue); err != nil {
		t.Fatal(err)
	}
	if now, err := p.Traffic(t.Context()); err != nil || now.Share != 1 {
		t.Errorf("%+v, %v: a little is not nothing", now, err)
	}
}
