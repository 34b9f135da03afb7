package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// rotations is how many follow each other in the proof; OFITEC_DRILLS=1 makes it the long one.
func rotations() int {
	if chassistest.Drill() {
		return 50
	}
	return 5
}

// TestRotationsUnderLoadCostNoRequest rotates again and again while users read and write, upgrades a module on each canary, and sees each old user out.
func TestRotationsUnderLoadCostNoRequest(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	p := r.deployer(t)
	stop, began := r.load(t), time.Now()
	var last events.Event
	colour := state.Blue
	for n := range rotations() {
		colour = rollout.Other(colour)
		event, version := r.rotate(t, true)
		last = event
		await(t, 60*time.Second, "the canary is watched", func() bool { return r.state(t).Number == version && r.state(t).Phase == state.DeploymentWatching })
		r.upgrade(t, colour, n)
		s := r.ended(t, version, state.DeploymentDone)
		if s.Hot != colour {
			t.Errorf("rotation %d: the traffic is on %s, want %s", n, s.Hot, colour)
		}
		// A starved machine's first readings may say nothing; the one that switched does.
		told := len(s.Samples) > 0 && s.Samples[len(s.Samples)-1].Canary.P95 != nil && s.Samples[len(s.Samples)-1].Control.P95 != nil
		if !told || len(s.Samples) < s.Readings.Green || s.Limits == nil || s.SwitchedAt == nil {
			t.Errorf("rotation %d: samples %+v, limits %v, switched at %v", n, s.Samples, s.Limits, s.SwitchedAt)
		}
		deployed, ok := r.saidOnce(t, version).(events.CredentialDeployed)
		if !ok || deployed.Standby || deployed.Previous != version-1 || deployed.Colour != string(colour) || deployed.Readings.Green == 0 || deployed.Readings.Red > 0 {
			t.Errorf("said %+v", deployed)
		}
		if r.login(t, state.Blue) != r.login(t, state.Green) || !strings.HasSuffix(r.login(t, state.Blue), "\nLAST=1\n") {
			t.Errorf("blue has %q, green %q", r.login(t, state.Blue), r.login(t, state.Green))
		}
		if active, _ := os.ReadFile(string(r.proxy.Active)); strings.TrimSpace(string(active)) != string(colour) {
			t.Errorf("a restarted proxy would use %q", active)
		}
		// The old user is seen out; nobody may miss it, and nothing of it is left.
		if n > 0 {
			r.farewell(t, r.made[n-1])
		}
		if users := r.users(t); len(users) != 1 || users[0] != r.made[n].user || r.leases(t) != 1 {
			t.Errorf("users %v, %d leases; want %s alone", users, r.leases(t), r.made[n].user)
		}
	}
	time.Sleep(500 * time.Millisecond) // with the old user gone
	sent, failures := stop()
	if rate := float64(sent) / time.Since(began).Seconds(); rate < 30 {
		t.Errorf("%.0f requests a second, want 30: it is no load", rate)
	}
	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
	told := fmt.Sprintf("%d rotations in %s, %d requests through the web proxy, %.0f a second, half of them writes, %d failed", rotations(), time.Since(began).Round(time.Second),
		sent, float64(sent)/time.Since(began).Seconds(), len(failures))
	t.Log(told)
	if alien := r.super(t, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND pg_get_userbyid(relowner) <> 'odoo_owner'"); alien != "0" {
		t.Errorf("%s tables, views and sequences do not belong to the owner role", alien)
	}
	if dead := r.super(t, "SELECT count(*) FROM pg_stat_activity a WHERE usesysid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles WHERE oid = a.usesysid)"); dead != "0" {
		t.Errorf("%s sessions of dead users", dead)
	}

	// The same event three times more: nothing is started, the result is said again with the same id and the same words.
	starts, version := r.starts(t), r.state(t).Number
	first := r.said(t, version)[0]
	for range 3 {
		r.deliver(t, last)
	}
	await(t, 20*time.Second, "all deliveries are acknowledged", func() bool { return r.heard(t) })
	if again := r.starts(t); again != starts {
		t.Errorf("%d more starts", again-starts)
	}
	for _, event := range r.said(t, version) {
		if event.ID != first.ID || string(event.Data) != string(first.Data) || !event.Time.Equal(first.Time) {
			t.Errorf("said again in other words: %+v", event)
		}
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	for _, secret := range r.secrets {
		if strings.Contains(p.Output(), secret) {
			t.Error("a secret is in the log")
		}
	}
	chassistest.Evidence(t, "rotations-deployer", "Rotations in a row under load, the deployer's rig", told+`. Each made a user by Vault's database engine, upgraded a module on the canary (tables, a view, a function, a column of a
table in use), switched, and saw the user before out: afterwards one user in pg_roles and one lease, no session of a dead user, everything owned by the owner role.`)
	if dump, err := r.etcd.Get(t.Context(), "/ofitec/deployments/a/odoo-app"); err != nil || slices.ContainsFunc(r.secrets, func(secret string) bool { return strings.Contains(string(dump.Kvs[0].Value), secret) }) {
		t.Errorf("a secret is in etcd, or %v", err)
	}
}

// killPoints are places around effects and writes of a rollout; moreKillPoints the others, which take as long again.
var (
	killPoints     = []string{"before-store-planned", "after-render", "after-start", "after-store-watching", "before-switch", "after-switch", "after-settle", "after-store-done"}
	moreKillPoints = []string{"after-store-planned", "after-store-rendered", "after-store-started", "after-try", "after-look", "after-store-switched", "after-drain"}
)

// TestADeployerThatIsKilledAnywhereIsFollowedByOneThatFinishesOnce goes through the points on two rigs at the same time.
func TestADeployerThatIsKilledAnywhereIsFollowedByOneThatFinishesOnce(t *testing.T) {
	t.Parallel()
	points := killPoints
	if chassistest.Drill() {
		points = slices.Concat(killPoints, moreKillPoints)
	}
	var mu sync.Mutex
	var told []string
	t.Run("anywhere", func(t *testing.T) {
		for half := range 2 {
			t.Run([]string{"first", "second"}[half], func(t *testing.T) {
				t.Parallel() // it waits more than it works, and has servers of its own
				r := startRig(t)
				stop := r.load(t)
				for n := half; n < len(points); n += 2 {
					t.Run(points[n], func(t *testing.T) { r.survive(t, points[n]) })
				}
				sent, failures := stop()
				if len(failures) > 0 {
					t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
				}
				mu.Lock()
				defer mu.Unlock()
				told = append(told, fmt.Sprintf("%d requests, %d failed", sent, len(failures)))
			})
		}
	})
	chassistest.Evidence(t, "killed-deployer", "A deployer that is killed, under load", fmt.Sprintf("Killed with SIGKILL at %s, in a rollout each. Its successor finished each once: one event, one switch, both colours on the version. On two rigs: %s.",
		strings.Join(points, ", "), strings.Join(told, "; ")))
}

// survive kills a deployer at a point of a rollout, and looks at what its successor makes of it.
func (r *rig) survive(t *testing.T, point string) {
	switches := r.switches(t)
	before := r.state(t).Hot
	doomed := r.deployer(t, "DEPLOYER_TEST_KILL_AT="+point)
	_, version := r.rotate(t, true)
	await(t, 60*time.Second, "it is killed", func() bool { status, _ := doomed.Get("/healthz"); return status == 0 && doomed.Output() != "" })
	if s := r.state(t); point != "after-store-done" && s.Phase == state.DeploymentDone && s.Number == version {
		t.Errorf("it had finished: %+v", s)
	}
	next := r.deployer(t)
	s := r.ended(t, version, state.DeploymentDone)
	if _, ok := r.saidOnce(t, version).(events.CredentialDeployed); !ok {
		t.Error("it was not deployed")
	}
	if n := switches(); n != 1 || s.Hot == before {
		t.Errorf("the traffic changed its colour %d times, from %q to %s", n, before, s.Hot)
	}
	if r.login(t, state.Blue) != r.login(t, state.Green) {
		t.Errorf("blue has %q, green %q", r.login(t, state.Blue), r.login(t, state.Green))
	}
	if status := next.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestWhatDoesNotPassIsRolledBackAndTheTrafficStays(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	stop := r.load(t)
	for _, c := range []struct {
		name, step, reason string
		known              bool
		prepare            func(t *testing.T) []string
	}{
		{"the database does not know the user", "login", "/web/health answers 503", false, func(*testing.T) []string { return []string{"OFITEC_START_WITHIN=3s"} }},
		{"the environment file is a link", "render", "is a link", true, func(t *testing.T) []string {
			file := r.envFile(state.Green)
			must(t, os.Rename(file, file+".real"))
			must(t, os.Symlink(file+".real", file))
			t.Cleanup(func() { must(t, os.Rename(file+".real", file)) })
			return nil
		}},
		{"the start command fails", "start", "exit status", true, func(*testing.T) []string { return []string{"OFITEC_START_COMMAND=false"} }},
		{"Prometheus is away", "gate", "readings without an answer", true, func(t *testing.T) []string {
			return []string{"OFITEC_PROMETHEUS_URL=http://" + chassistest.FreeAddr(t), "OFITEC_GATE_INCONCLUSIVE=2"}
		}},
		{"the canary is slow", "gate", "red readings", true, func(t *testing.T) []string {
			r.slow(t, map[state.Colour]int{state.Green: 1300})
			t.Cleanup(func() { r.slow(t, nil) })
			return []string{"OFITEC_GATE_P95=1200ms", "OFITEC_GATE_FAILURES=1", "OFITEC_CANARY_READS=/web/health"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.login(t, state.Blue)
			p := r.deployer(t, c.prepare(t)...)
			_, version := r.rotate(t, c.known)
			if c.step == "start" { // a start that fails cannot settle either
				await(t, 60*time.Second, "it is rolled back", func() bool { return r.state(t).Phase == state.DeploymentRolledBack && r.state(t).Number == version })
			} else {
				r.ended(t, version, state.DeploymentRolledBack)
			}
			back, ok := r.saidOnce(t, version).(events.CredentialRolledBack)
			if !ok || back.Step != c.step || !strings.Contains(back.Reason, c.reason) {
				t.Errorf("said %+v", back)
			}
			if now, err := r.proxy.Traffic(t.Context()); err != nil || now.Hot != state.Blue || now.Share != 0 {
				t.Errorf("the traffic is %+v, %v", now, err)
			}
			if after := r.login(t, state.Blue); after != before {
				t.Errorf("the colour with traffic was touched: %q", after)
			}
			await(t, 60*time.Second, "the canary has the login before", func() bool { return r.login(t, state.Green) == before })
			if status := p.Terminate(t); status != 0 {
				t.Errorf("exit status %d", status)
			}
		})
	}
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, slices.Compact(failures))
	}
}

// TestWhatComesInTheWayOfRollouts goes on on one rig, each time with another deployer.
func TestWhatComesInTheWayOfRollouts(t *testing.T) {
	t.Parallel() // it waits more than it works, and has servers of its own
	r := startRig(t)
	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a region that was destroyed gets the version in use again", r.aDestroyedRegion},
		{"a newer version replaces one that is watched", r.aNewerVersion},
		{"while Vault is away nothing is touched, and it goes on by itself", r.vaultIsAway},
		{"while Vault is sealed nothing is touched, and it goes on by itself", r.vaultIsSealed},
		{"in the standby region login and reads are tested, and the event says so", r.inTheStandbyRegion},
	} {
		t.Run(c.name, c.run)
	}
}

func (r *rig) inTheStandbyRegion(t *testing.T) {
	r.standby.Store(true)
	m := r.mint(t) // the user comes from the region that writes
	r.super(t, "ALTER SYSTEM SET default_transaction_read_only = on")
	r.super(t, "SELECT pg_reload_conf()")
	r.deployer(t)
	_, version := r.publish(t, m.user, m.password)
	r.ended(t, version, state.DeploymentDone)
	if deployed, ok := r.saidOnce(t, version).(events.CredentialDeployed); !ok || !deployed.Standby {
		t.Errorf("said %+v", deployed)
	}
}

func (r *rig) aNewerVersion(t *testing.T) {
	r.deployer(t)
	first, second := r.stageMinted(t), r.stageMinted(t) // before the window, which does not wait for a starved machine
	r.say(t, first)
	await(t, 60*time.Second, "the first is watched", func() bool { return r.state(t).Phase == state.DeploymentWatching })
	r.say(t, second)
	r.ended(t, second, state.DeploymentDone)
	if back, ok := r.saidOnce(t, first).(events.CredentialRolledBack); !ok || back.Step != "gate" || !strings.Contains(back.Reason, "replaces it") {
		t.Errorf("said of the first %+v", back)
	}
	if deployed, ok := r.saidOnce(t, second).(events.CredentialDeployed); !ok || deployed.Previous != first-1 {
		t.Errorf("said of the second %+v", deployed)
	}
	if r.login(t, state.Blue) != r.login(t, state.Green) {
		t.Errorf("blue has %q, green %q", r.login(t, state.Blue), r.login(t, state.Green))
	}
}

func (r *rig) vaultIsAway(t *testing.T) {
	_, version := r.rotate(t, true)
	still := r.untouched(t)
	must(t, syscall.Kill(r.vaultPID, syscall.SIGSTOP))
	t.Cleanup(func() { _ = syscall.Kill(r.vaultPID, syscall.SIGCONT) })
	p := r.deployer(t)
	await(t, 60*time.Second, "the version is planned", func() bool { return r.state(t).Number == version })
	if body := p.Await(t, "/readyz", 503); !strings.Contains(body, `"vault"`) {
		t.Errorf("readyz says %s", body)
	}
	await(t, 60*time.Second, "it has tried", func() bool { return strings.Contains(p.Output(), `"action failed"`) })
	if s := r.state(t); s.Phase != state.DeploymentPlanned {
		t.Errorf("phase %s", s.Phase)
	}
	still("Vault is away")
	must(t, syscall.Kill(r.vaultPID, syscall.SIGCONT))
	r.ended(t, version, state.DeploymentDone)
}

func (r *rig) aDestroyedRegion(t *testing.T) {
	first := map[state.Colour]string{}
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		content, err := os.ReadFile(r.envFile(colour))
		must(t, err)
		first[colour] = string(content)
	}
	p := r.deployer(t)
	_, version := r.rotate(t, true)
	r.ended(t, version, state.DeploymentDone)
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	want := r.login(t, state.Blue)
	for colour, content := range first {
		must(t, os.WriteFile(r.envFile(colour), []byte(content), 0o600))
	}
	must(t, os.Remove(string(r.proxy.Active)))
	r.deployer(t)
	await(t, 60*time.Second, "both colours have the version again", func() bool { return r.login(t, state.Blue) == want && r.login(t, state.Green) == want })
	if s := r.ended(t, version, state.DeploymentDone); s.Hot != state.Blue {
		t.Errorf("the traffic is on %s", s.Hot)
	}
	r.saidOnce(t, version)
}
