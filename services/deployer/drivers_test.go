package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// shares follows which of the steps' shares of the traffic a colour has, until stop is called. Between the two weights of one switch there are others for a moment.
func (r *rig) shares(t *testing.T, of state.Colour) (stop func() []int) {
	t.Helper()
	done, result := make(chan struct{}), make(chan []int)
	go func() {
		var seen []int
		for {
			if traffic, err := r.proxy.Traffic(t.Context()); err == nil && (len(seen) == 0 || seen[len(seen)-1] != traffic.Of(of)) {
				seen = append(seen, traffic.Of(of))
			}
			select {
			case <-done:
				result <- seen
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() []int {
		close(done)
		between := func(share int) bool { return !slices.Contains([]int{0, 10, 50, 100}, share) }
		return slices.Compact(slices.DeleteFunc(<-result, between))
	}
}

// weights are those under which readings were taken, in order.
func weights(samples []state.Sample) (under []int) {
	for _, sample := range samples {
		under = append(under, sample.Weight)
	}
	return slices.Compact(under)
}

// TestTheTrafficComesInStepsWithAGateAfterEach kills the first deployer right after it has given the first share; its successor takes the other steps. Another
// version does badly with half of the traffic: that goes back, and no request has failed.
func TestTheTrafficComesInStepsWithAGateAfterEach(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	stop := r.load(t)
	steps := []string{"OFITEC_SWITCH_STEPS=10,50,100", "OFITEC_GATE_STEP_WINDOW=2500ms", "OFITEC_GATE_DELAY=1s", "OFITEC_GATE_FAILURES=3"}
	shares := r.shares(t, state.Green)
	doomed := r.deployer(t, append(steps, "DEPLOYER_TEST_KILL_AT=after-switch")...)
	_, version := r.rotate(t, true)
	await(t, 60*time.Second, "it is killed", func() bool { status, _ := doomed.Get("/healthz"); return status == 0 && doomed.Output() != "" })
	p := r.deployer(t, steps...)
	s := r.ended(t, version, state.DeploymentDone)
	if seen := shares(); !slices.Equal(seen, []int{0, 10, 50, 100}) {
		t.Errorf("green had %v %% of the traffic", seen)
	}
	if under := weights(s.Samples); !slices.Equal(under, []int{0, 10, 50, 100}) {
		t.Errorf("readings were taken under %v %%", under)
	}
	if deployed, ok := r.saidOnce(t, version).(events.CredentialDeployed); !ok || deployed.Colour != "green" {
		t.Errorf("said %+v", deployed)
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}

	shares = r.shares(t, state.Blue)
	r.deployer(t, append(steps, "OFITEC_GATE_P95=2s", "OFITEC_GATE_FAILURES=1", "OFITEC_CANARY_READS=/web/health")...)
	before := r.login(t, state.Green)
	_, version = r.rotate(t, true)
	await(t, 60*time.Second, "half of the traffic is on the canary", func() bool { return r.state(t).Weight == 50 })
	r.slow(t, map[state.Colour]int{state.Blue: 2200})
	await(t, 60*time.Second, "it is rolled back", func() bool { return r.state(t).Phase == state.DeploymentRolledBack })
	if traffic, err := r.proxy.Traffic(t.Context()); err != nil || traffic.Hot != state.Green || traffic.Share != 0 {
		t.Errorf("said while the traffic was %+v, %v", traffic, err)
	}
	r.slow(t, nil)
	r.ended(t, version, state.DeploymentRolledBack)
	if seen := shares(); !slices.Equal(seen, []int{0, 10, 50, 0}) {
		t.Errorf("blue had %v %% of the traffic", seen)
	}
	if back, ok := r.saidOnce(t, version).(events.CredentialRolledBack); !ok || back.Step != "gate" || !strings.Contains(back.Reason, "red readings") {
		t.Errorf("said %+v", back)
	}
	if r.login(t, state.Blue) != before || r.login(t, state.Green) != before {
		t.Error("a colour is not on the version before")
	}
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
}

// earlier is the layout of the earlier delivery: one .env for both colours, a Makefile with the target canary, and a switcher that moves the traffic to the other colour
// when it is run.
var earlier = map[string]string{
	"infra/Makefile": ".PHONY: canary\ncanary:\n\t@ENV_FILE=@DIR/infra/.env sh @DIR/start\n",
	"infra/autoscaler/switcher.py": `#!/usr/bin/env python3
import os, socket, sys
if sys.argv[1:] != ['--one-shot']:
    sys.exit('usage: switcher.py --one-shot')
open('@DIR/switches', 'a').write('run\n')
if os.path.exists('@DIR/refuse'):
    sys.exit('gates are red')
def ask(line):
    s = socket.socket(socket.AF_UNIX); s.connect('@DIR/s'); s.sendall((line + '\n').encode())
    answer = b''
    while chunk := s.recv(65536): answer += chunk
    return answer.decode()
rows = [row.split(',') for row in ask('show stat odoo 4 -1').strip().split('\n')]
weight = rows[0].index('weight')
blue = next(int(row[weight]) for row in rows if row[1] == 'blue')
to, other = ('green', 'blue') if blue > 0 else ('blue', 'green')
ask(f'set weight odoo/{to} 100; set weight odoo/{other} 0')
`,
}

// TestTheEarlierDeliverysCommandsRunAsTheyStand starts the cold colour by make -C infra canary and switches by switcher.py --one-shot, whose refusal is a failed
// switch.
func TestTheEarlierDeliverysCommandsRunAsTheyStand(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	makeProgram, python := program(t, "make"), program(t, "python3")
	for name, content := range earlier {
		file := filepath.Join(r.dir, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(strings.ReplaceAll(content, "@DIR", r.dir)), 0o755))
	}
	env1 := r.dir + "/infra/.env"
	first, err := os.ReadFile(r.envFile(state.Blue))
	must(t, err)
	must(t, os.WriteFile(env1, first, 0o644))
	must(t, os.WriteFile(r.dir+"/refuse", nil, 0o600))
	must(t, os.WriteFile(r.dir+"/active", []byte("blue\n"), 0o600))
	env := []string{
		"OFITEC_START_COMMAND=" + makeProgram + " -C " + r.dir + "/infra canary", "OFITEC_WEB_PROXY=command",
		"OFITEC_SWITCH_COMMAND=" + python + " " + r.dir + "/infra/autoscaler/switcher.py --one-shot", "OFITEC_DRAIN_WITHIN=1s",
		"OFITEC_ODOO_BLUE_ENV_FILE=" + env1, "OFITEC_ODOO_GREEN_ENV_FILE=" + env1,
	}
	stop := r.load(t)
	r.deployer(t, env...)
	_, version := r.rotate(t, true)
	r.ended(t, version, state.DeploymentRolledBack)
	if back, ok := r.saidOnce(t, version).(events.CredentialRolledBack); !ok || back.Step != "switch" || !strings.Contains(back.Reason, "exit status 1: gates are red") {
		t.Errorf("said %+v", back)
	}
	if traffic, err := r.proxy.Traffic(t.Context()); err != nil || traffic.Hot != state.Blue {
		t.Errorf("the traffic is %+v, %v", traffic, err)
	}
	if given, err := os.ReadFile(env1); err != nil || string(given) != string(first) {
		t.Errorf("the file holds %q after the roll-back, %v", given, err)
	}
	if runs, _ := os.ReadFile(r.dir + "/switches"); strings.Count(string(runs), "run") != tries {
		t.Errorf("a refused switch was tried %d times, want %d", strings.Count(string(runs), "run"), tries)
	}
	must(t, os.Remove(r.dir+"/refuse"))
	must(t, os.Remove(r.dir+"/switches"))
	_, version = r.rotate(t, true)
	r.ended(t, version, state.DeploymentDone)
	if deployed, ok := r.saidOnce(t, version).(events.CredentialDeployed); !ok || deployed.Colour != "green" {
		t.Errorf("said %+v", deployed)
	}
	if traffic, err := r.proxy.Traffic(t.Context()); err != nil || traffic.Hot != state.Green || traffic.Share != 0 {
		t.Errorf("the traffic is %+v, %v", traffic, err)
	}
	if runs, _ := os.ReadFile(r.dir + "/switches"); string(runs) != "run\n" {
		t.Errorf("the switcher ran %q", runs)
	}
	if content, err := os.ReadFile(env1); err != nil || !strings.Contains(string(content), r.made[1].user) {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if backup, err := os.ReadFile(env1 + ".bak"); err != nil || string(backup) != string(first) {
		t.Errorf("the previous file holds %q, %v", backup, err)
	}
	for _, file := range []string{env1, env1 + ".bak"} {
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
}

// traefikStatic and traefikDynamic are a real Traefik's configuration: an entry point, its API, and a folder that it watches.
const (
	traefikStatic = `entryPoints:
  web: {address: "@WEB"}
  traefik: {address: "@API"}
api: {insecure: true}
providers:
  file: {directory: "@DIR/dynamic", watch: true}
  providersThrottleDuration: 200ms
serversTransport: {forwardingTimeouts: {dialTimeout: 1s}}
`
	traefikDynamic = `http:
  routers:
    all: {rule: "PathPrefix(` + "`/`" + `)", service: odoo, middlewares: [again]}
  middlewares:
    again: {retry: {attempts: 3}}
  services:
    odoo-blue: {loadBalancer: {servers: [{url: "http://@BLUE"}], healthCheck: {path: /web/health, interval: 500ms, timeout: 5s}}}
    odoo-green: {loadBalancer: {servers: [{url: "http://@GREEN"}], healthCheck: {path: /web/health, interval: 500ms, timeout: 5s}}}
    odoo:
      weighted:
        services:
          - {name: odoo-blue, weight: 100}
          - {name: odoo-green, weight: 0}
`
)

// TestARealTraefikIsSwitchedByItsFile runs where a Traefik is installed (README: how it is built).
func TestARealTraefikIsSwitchedByItsFile(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	traefik := program(t, "traefik")
	r := startRig(t)
	web, api := chassistest.FreeAddr(t), chassistest.FreeAddr(t)
	fill := strings.NewReplacer("@WEB", web, "@API", api, "@DIR", r.dir, "@BLUE", r.odoo[state.Blue], "@GREEN", r.odoo[state.Green])
	must(t, os.Mkdir(r.dir+"/dynamic", 0o755))
	must(t, os.WriteFile(r.dir+"/traefik.yml", []byte(fill.Replace(traefikStatic)), 0o600))
	must(t, os.WriteFile(r.dir+"/dynamic/odoo.yml", []byte(fill.Replace(traefikDynamic)), 0o600))
	if out, err := exec.Command(traefik, "version").CombinedOutput(); err == nil {
		t.Logf("%s", strings.Join(strings.Fields(string(out)), " "))
	}
	start(t, traefik, "--configFile="+r.dir+"/traefik.yml")
	r.web = web
	await(t, 20*time.Second, "Traefik serves", func() bool { return r.get("/web/health") == 200 })
	r.deployer(t, "OFITEC_WEB_PROXY=traefik", "OFITEC_TRAEFIK_FILE="+r.dir+"/dynamic/odoo.yml", "OFITEC_TRAEFIK_API_URL=http://"+api, "OFITEC_DRAIN_WITHIN=1s",
		"OFITEC_SWITCH_STEPS=50,100", "OFITEC_GATE_STEP_WINDOW=2500ms", "OFITEC_GATE_DELAY=1s", "OFITEC_GATE_FAILURES=3")
	stop, began := r.load(t), time.Now()
	for n, colour := range []state.Colour{state.Green, state.Blue} {
		_, version := r.rotate(t, true)
		s := r.ended(t, version, state.DeploymentDone)
		if under := weights(s.Samples); !slices.Equal(under, []int{0, 50, 100}) || s.Hot != colour {
			t.Errorf("on %s, readings under %v %%", s.Hot, under)
		}
		if n > 0 {
			r.farewell(t, r.made[n-1])
		}
	}
	content, err := os.ReadFile(r.dir + "/dynamic/odoo.yml")
	must(t, err)
	if string(content) != fill.Replace(traefikDynamic) {
		t.Errorf("there and back is not where it began:\n%s", content)
	}
	sent, failures := stop()
	if rate := float64(sent) / time.Since(began).Seconds(); rate < 30 {
		t.Errorf("%.0f requests a second, want 30: it is no load", rate)
	}
	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
	t.Logf("%d requests, %d failed", sent, len(failures))
}
