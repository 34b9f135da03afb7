package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Row 7 of the rotation's table.
func TestAVersionThatTheStandbyRollsBackIsNotBroughtToTheActiveRegion(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	r.rotator(t, events.RegionA)
	first := r.settled(t, 1)
	r.mu.Lock()
	r.verdict = func(version int64, region events.Region) string {
		if version == 3 {
			return "the canary of region " + string(region) + " fails"
		}
		return "deployed"
	}
	r.mu.Unlock()
	r.job(t, "r-1")
	await(t, 60*time.Second, "version 3 is ended", func() bool {
		s, _ := r.state(t)
		return len(s.Versions) == 3 && s.Versions[2].Stage == state.StageRevoked
	})
	s, _ := r.state(t)
	if v := s.Versions[2]; v.Cause != "rolledback" || !slices.Equal(v.Asked, []events.Region{"b"}) || !strings.Contains(v.Reason, "region a was not asked") {
		t.Errorf("version 3 is %+v", v)
	}
	if now := current(s); now.Lease != first.Lease {
		t.Errorf("in use is %+v", now)
	}
	for _, e := range r.facts(t, events.TypeCredentialRotated, events.TypeCredentialRolledBack) {
		if strings.HasSuffix(e.ID, ".3-a") {
			t.Errorf("region a has heard of version 3: %s", e.ID)
		}
	}
	if next := r.settled(t, 3); !slices.Equal(next.Deployed, []events.Region{"b", "a"}) {
		t.Errorf("the next version went %v, want b and then a", next.Deployed)
	}
}

func TestARegionWhoseArbiterIsSilentIsAskedAndNotWaitedFor(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	for _, region := range events.DataRegions { // each reports once, and only a goes on
		report(t, r, region)
	}
	alive := time.NewTicker(200 * time.Millisecond)
	defer alive.Stop()
	go func() {
		for range alive.C {
			_, _ = r.etcd.Put(t.Context(), state.ReportKey(events.RegionA), "{}") // ends with the test
		}
	}()
	r.verdict = func(_ int64, region events.Region) string {
		if region == events.RegionB {
			return "silent"
		}
		return "deployed"
	}
	begun := time.Now()
	r.rotator(t, events.RegionA, "OFITEC_REGION_AWAY_AFTER=2s", "OFITEC_REGION_PATIENCE=10m")
	v := r.inUse(t, credential, 1)
	if !slices.Equal(v.Asked, []events.Region{"b", "a"}) || !slices.Equal(v.Deployed, []events.Region{"a"}) {
		t.Errorf("in use is %+v", v)
	}
	t.Logf("in use %s after the start", time.Since(begun).Round(time.Millisecond))
}

func report(t *testing.T, r *rig, region events.Region) {
	t.Helper()
	_, err := r.etcd.Put(t.Context(), state.ReportKey(region), "{}")
	must(t, err)
}

// Row 10 of the rotation's table: the region that writes dies while a rotation is under way, and the users made there may not have come over.
func TestAFailoverInTheMiddleLeavesOneUserThatWorksOnTheNewSide(t *testing.T) {
	for _, c := range []struct {
		name    string
		point   string // where the rotator stands when the primary dies
		streams bool   // whether the standby has the users
	}{
		{"the new user is not staged yet and is lost", "did Test", false}, {"the new user is not staged yet and has come over", "did Test", true}, {"the old one is being ended", "fenced", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			if c.streams && os.Getenv("OFITEC_DRILLS") == "" {
				t.Skip("make drills has all of them")
			}
			r := startRig(t, "1h", "24h")
			s := startStandby(t, r.database, c.streams)
			second := s.Relay(t)
			r.vault.reach(t, r.database, r.proxy, second)
			gate := shortDir(t) + "/go"
			env := []string{"OFITEC_DATABASE_PROXIES=" + r.proxy + "," + second, "OFITEC_DATABASE_READ_PROXIES=" + second}
			settled := r.rotator(t, events.RegionA, env...)
			first := r.settled(t, 1)
			settled.Terminate(t)
			p := r.rotator(t, events.RegionA, append(env, "OFITEC_TEST_HOLD_AT="+c.point+"="+gate)...)
			p.Await(t, "/readyz", 200)
			r.job(t, "r-1")
			await(t, 60*time.Second, "the rotation is under way", func() bool { now, _ := r.state(t); return len(now.Versions) == 3 })
			if c.point == "fenced" {
				await(t, 60*time.Second, "the old one is being ended", func() bool {
					return r.database.Super(t, "ofitec_prod", fmt.Sprintf("SELECT rolcanlogin FROM pg_roles WHERE rolname = '%s'", first.User)) == "f"
				})
			}
			r.database.Run(t, "pg_ctl", "-w", "-D", r.database.DataDir, "-m", "immediate", "stop")
			r.activate(t, "")
			s.Run(t, "pg_ctl", "-w", "-D", s.DataDir, "promote")
			r.mu.Lock()
			r.database, r.proxy = s, second
			r.mu.Unlock()
			r.activate(t, events.RegionB)
			r.epoch(t, 2)
			must(t, os.WriteFile(gate, nil, 0o600))
			r.settled(t, 2) // for a moment version 2 may be in use alone, whose user is not here
		})
	}
}
