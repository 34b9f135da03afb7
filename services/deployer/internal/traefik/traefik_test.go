package traefik

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// dynamic is a dynamic configuration as Traefik's documentation of the file provider has it, in the layout of somebody who writes by hand.
const dynamic = `# kept as it is: ñandú
http:
  routers:
    web: {rule: "Host(` + "`erp.ofitec.test`" + `)", service: odoo, priority: 100}
  services:
    odoo-blue:  {loadBalancer: {servers: [{url: "http://127.0.0.11:8069"}]}}
    odoo-green: {loadBalancer: {servers: [{url: "http://127.0.0.11:8070"}]}}
    odoo:
      weighted:
        services:
          - name: odoo-blue
            weight: 100   # the hot one
          - { name: odoo-green@file, weight: 0, }
`

func proxyFor(t *testing.T, content string) Proxy {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "dynamic.yml")
	if err := os.WriteFile(file, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	return Proxy{File: file, Service: "odoo", Servers: "odoo-$colour", Active: active.File(filepath.Join(dir, "active")), Within: time.Second}
}

func give(t *testing.T, p Proxy, to state.Colour, percent int) {
	t.Helper()
	if err := p.Give(t.Context(), to, percent); err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, p Proxy, want rollout.Traffic) {
	t.Helper()
	if now, err := p.Traffic(t.Context()); err != nil || now != want {
		t.Errorf("traffic is %+v, %v; want %+v", now, err, want)
	}
}

func TestOnlyTheTwoWeightsChangeAndEveryOtherByteStays(t *testing.T) {
	p := proxyFor(t, dynamic)
	is(t, p, rollout.Traffic{Hot: state.Blue, Open: -1})
	give(t, p, state.Green, 10)
	is(t, p, rollout.Traffic{Hot: state.Blue, Share: 10, Open: -1})
	give(t, p, state.Green, 100)
	is(t, p, rollout.Traffic{Hot: state.Green, Open: -1})
	content, _ := os.ReadFile(p.File)
	want := strings.NewReplacer("weight: 100   #", "weight: 0   #", "weight: 0, }", "weight: 100, }").Replace(dynamic)
	if string(content) != want {
		t.Errorf("got\n%s\nwant\n%s", content, want)
	}
	if info, err := os.Stat(p.File); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	give(t, p, state.Blue, 100)
	if content, _ := os.ReadFile(p.File); string(content) != dynamic {
		t.Errorf("there and back is not where it began:\n%s", content)
	}
	if kept, err := p.Active.Read(); err != nil || kept != state.Blue {
		t.Errorf("kept %s, %v", kept, err)
	}
	if left, _ := filepath.Glob(p.File + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAFileThatSaysSoAlreadyIsNotWritten(t *testing.T) {
	p := proxyFor(t, dynamic)
	before, _ := os.Stat(p.File)
	give(t, p, state.Blue, 100)
	if after, _ := os.Stat(p.File); !os.SameFile(before, after) {
		t.Error("it was replaced")
	}
}

func TestAFileThatCannotBeChangedSafelyIsRefusedAndNotTouched(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"no YAML":           {"http: [", "yaml"},
		"another service":   {strings.Replace(dynamic, "    odoo:\n", "    erp:\n", 1), "http.services.odoo.weighted.services"},
		"a missing colour":  {strings.Replace(dynamic, "odoo-green@file", "odoo-red", 1), "no odoo-green with a weight"},
		"a missing weight":  {strings.Replace(dynamic, ", weight: 0,", ",", 1), `"", want a whole number`},
		"a quoted weight":   {strings.Replace(dynamic, "weight: 0,", `weight: "0",`, 1), "want a whole number"},
		"a weight of words": {strings.Replace(dynamic, "weight: 0,", "weight: none,", 1), `"none"`},
		"a negative weight": {strings.Replace(dynamic, "weight: 0,", "weight: -1,", 1), `"-1"`},
		"no traffic":        {strings.Replace(dynamic, "weight: 100 ", "weight: 0 ", 1), ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := proxyFor(t, c.content)
			if now, err := p.Traffic(t.Context()); err == nil || !strings.Contains(err.Error(), p.File) || now.Hot != "" {
				t.Errorf("%+v, %v", now, err)
			}
			if c.want == "" {
				return
			}
			if err := p.Give(t.Context(), state.Green, 100); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if after, _ := os.ReadFile(p.File); string(after) != c.content {
				t.Error("the file was touched")
			}
		})
	}
	p := proxyFor(t, dynamic)
	link := p.File + ".link"
	if err := os.Symlink(p.File, link); err != nil {
		t.Fatal(err)
	}
	p.File = link
	if err := p.Give(t.Context(), state.Green, 100); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a link: %v", err)
	}
}

// loading is Traefik's API as its documentation shows it: what was loaded, a moment after it was written.
type loading struct {
	file  string
	after time.Duration
	green string // status of green's server
}

func (l loading) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/http/services/odoo@file" {
			fmt.Fprintf(w, `{"status":"enabled","serverStatus":{"http://127.0.0.11:8070":%q},"name":"odoo-green@file","provider":"file","type":"loadbalancer"}`, l.green)
			return
		}
		info, err := os.Stat(l.file)
		if err != nil || time.Since(info.ModTime()) < l.after {
			fmt.Fprint(w, `{"weighted":{"services":[{"name":"odoo-blue","weight":100},{"name":"odoo-green@file","weight":0}]},"status":"enabled","name":"odoo@file","type":"weighted"}`)
			return
		}
		content, _ := os.ReadFile(l.file)
		var d map[string]any
		if err := yaml.Unmarshal(content, &d); err != nil {
			t.Error(err)
		}
		weighted := d["http"].(map[string]any)["services"].(map[string]any)["odoo"].(map[string]any)
		_ = json.NewEncoder(w).Encode(weighted)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestASwitchIsDoneWhenTraefikSaysSo(t *testing.T) {
	p := proxyFor(t, dynamic)
	p.API, p.Within = loading{p.File, 300 * time.Millisecond, "UP"}.serve(t), 10*time.Second
	began := time.Now()
	give(t, p, state.Green, 100)
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("done after %s: Traefik had not loaded it", took)
	}
	p.API, p.Within = loading{p.File, time.Hour, "UP"}.serve(t), 300*time.Millisecond
	if err := p.Give(t.Context(), state.Blue, 50); err == nil || !strings.Contains(err.Error(), "has not loaded") {
		t.Errorf("%v", err)
	}
}

func TestAColourThatTraefikSeesDownGetsNothing(t *testing.T) {
	p := proxyFor(t, dynamic)
	p.API = loading{p.File, 0, "DOWN"}.serve(t)
	if err := p.Give(t.Context(), state.Green, 10); err == nil || !strings.Contains(err.Error(), "sees http://127.0.0.11:8070 DOWN") {
		t.Errorf("%v", err)
	}
	if content, _ := os.ReadFile(p.File); string(content) != dynamic {
		t.Error("the file was touched")
	}
	p.API = "http://127.0.0.1:1"
	if err := p.Give(t.Context(), state.Green, 10); err == nil {
		t.Error("nobody could say that green is up")
	}
}
