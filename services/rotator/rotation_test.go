package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

func TestARotationReachesBothRegionsAndNothingIsLeftOfTheOldUser(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	p := r.rotator(t, events.RegionA)
	first := r.settled(t, 1)
	if first.Number != 2 || first.Trigger != "first" || first.Previous != 1 {
		t.Errorf("the first start's user is followed by %+v", first)
	}
	if first.DeadlineAt.Sub(first.MintedAt) != 24*time.Hour {
		t.Errorf("the deadline is %s after the birth, want max_ttl", first.DeadlineAt.Sub(first.MintedAt))
	}
	job := r.job(t, "r-1")
	second := r.settled(t, first.Number)
	if second.Number != 3 || second.Act == nil || second.Act.Request != "r-1" || second.Act.Actor != "maria" {
		t.Errorf("the job is followed by %+v", second)
	}
	if !ended(r.sessions[first.Number]) {
		t.Error("a session of the old user still works")
	}
	if _, _, readable := r.vault.secret(t, first.Number); readable {
		t.Error("the old password can still be read in KV v2")
	}
	r.checkTrail(t, job)
	r.checkRedelivery(t, job)
	r.checkStray(t)
	r.checkAlienJob(t)
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	r.checkSecrets(t, p.Output())
}

// checkTrail reads what was said about the job's version: one word of each kind, joined to the job.
func (r *rig) checkTrail(t *testing.T, job events.Event) {
	t.Helper()
	said := ""
	for _, e := range r.facts(t) {
		said += strings.TrimPrefix(e.ID, "credential.") + " "
		if strings.Contains(e.ID, ".3") && e.CorrelationID != job.CorrelationID {
			t.Errorf("%s has correlation %s, want the job's %s", e.ID, e.CorrelationID, job.CorrelationID)
		}
		if e.Type == events.TypeCredentialRevoked {
			revoked, err := events.PayloadOf[events.CredentialRevoked](e)
			must(t, err)
			if !revoked.DrainedProven || revoked.SessionsEnded != 1 || revoked.Cause != "superseded" || revoked.Version != 2 {
				t.Errorf("revoked: %+v", revoked)
			}
			if e.CorrelationID != job.CorrelationID {
				t.Error("the end of the old version is not joined to the job")
			}
		}
	}
	want := "rotated.odoo-app.2-b deployed.odoo-app.2-b rotated.odoo-app.2-a deployed.odoo-app.2-a rotated.odoo-app.3-b deployed.odoo-app.3-b rotated.odoo-app.3-a deployed.odoo-app.3-a revoked.odoo-app.2 "
	if said != want {
		t.Errorf("said\n%s, want\n%s", said, want)
	}
}

// checkRedelivery brings everything that the rotator reads three times more.
func (r *rig) checkRedelivery(t *testing.T, job events.Event) {
	t.Helper()
	_, before := r.state(t)
	leases := r.vault.leases(t)
	heard := []events.Event{job}
	heard = append(heard, r.facts(t, events.TypeCredentialDeployed)...)
	for n := range 3 {
		for _, e := range heard {
			data, err := e.Encode()
			must(t, err)
			_, err = r.js.PublishMsg(t.Context(), &nats.Msg{Subject: e.Subject, Data: data, Header: nats.Header{bus.HeaderMsgID: {fmt.Sprint(e.MsgID(), n)}}})
			must(t, err)
		}
	}
	for _, durable := range []struct{ stream, name string }{{events.StreamFacts, "rotator-a"}, {events.StreamJobs, "rotator"}} {
		await(t, 20*time.Second, "everything was read by "+durable.name, func() bool {
			consumer, err := r.js.Consumer(t.Context(), durable.stream, durable.name)
			must(t, err)
			info := consumer.CachedInfo()
			return info.NumPending == 0 && info.NumAckPending == 0
		})
	}
	await(t, 10*time.Second, "the inbox is empty", func() bool {
		inbox, err := r.etcd.Get(t.Context(), "/ofitec/rotator/inbox/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		must(t, err)
		return inbox.Count == 0
	})
	if _, after := r.state(t); after != before {
		t.Errorf("redelivery has changed the book from\n%s to\n%s", before, after)
	}
	if now := r.vault.leases(t); len(now) != 1 || now[0] != leases[0] {
		t.Errorf("redelivery has changed the leases from %v to %v", leases, now)
	}
}

// checkSecrets looks for passwords where none may be.
func (r *rig) checkSecrets(t *testing.T, log string) {
	t.Helper()
	places := map[string]string{"the log": log}
	for _, e := range r.facts(t) {
		data, err := e.Encode()
		must(t, err)
		places["FACTS"] += string(data)
	}
	all, err := r.etcd.Get(t.Context(), "", clientv3.WithPrefix())
	must(t, err)
	for _, kv := range all.Kvs {
		places["etcd"] += string(kv.Value)
	}
	for _, secret := range append(r.passwords, r.vault.unsealKey, r.vault.root.Token()) {
		for place, text := range places {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds a secret", place)
			}
		}
	}
}

func TestAVersionThatTheActiveRegionRollsBackIsEndedAndTheOneInUseStays(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	r.rotator(t, events.RegionA, "OFITEC_REGION_ORDER=a,b")
	first := r.settled(t, 1)
	r.mu.Lock()
	r.verdict = func(version int64, region events.Region) string {
		if version == 3 && region == events.RegionA {
			return "5 of 100 requests failed"
		}
		if version == 3 {
			return "silent"
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
	if now := current(s); now.Lease != first.Lease {
		t.Errorf("in use is %+v", now)
	}
	if v := s.Versions[2]; v.Cause != "rolledback" || !strings.Contains(v.Reason, "5 of 100 requests failed") {
		t.Errorf("version 3 is %+v", v)
	}
	if !ended(r.sessions[3]) || ended(r.sessions[2]) {
		t.Error("the wrong sessions were ended")
	}
	r.settled(t, 2) // the next attempt, after the pause
}

func TestAUserWhoseRoleLacksTheMembershipIsRefusedBeforeItIsPublished(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	role, err := deploy.VaultOdooRole()
	must(t, err)
	good := role
	role.Creation = strings.Replace(role.Creation, " IN ROLE odoo_owner", "", 1)
	r.vault.databaseRole(t, "odoo-app", "1h", "24h", role)
	r.rotator(t, events.RegionA)
	await(t, 60*time.Second, "a version is refused and ended", func() bool {
		s, _ := r.state(t)
		return len(s.Versions) > 1 && s.Versions[1].Stage == state.StageRevoked
	})
	s, _ := r.state(t)
	if v := s.Versions[1]; v.Cause != "rejected" || v.Reason == "" {
		t.Errorf("the refused version is %+v", v)
	}
	if v := s.Versions[0]; v.Stage != state.StageCurrent || v.Lease != "" {
		t.Errorf("the first start's user is not in use any more: %+v", v)
	}
	if published := r.facts(t, events.TypeCredentialRotated); len(published) > 0 {
		t.Errorf("published: %v", published)
	}
	r.vault.databaseRole(t, "odoo-app", "1h", "24h", good)
	r.settled(t, 2)
}

func TestASealedVaultIsWaitedForAndTheLeaseRenewedWhenItIsOpen(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "30s", "24h")
	p := r.rotator(t, events.RegionA)
	before := r.settled(t, 1)
	must(t, r.vault.root.Sys().Seal())
	// Renewals are due from 62 % of the ttl on; they fail until the unsealing, which is before the end of the lease.
	await(t, 60*time.Second, "a renewal has failed", func() bool { return failures(p.Await(t, "/metrics", 200), "renew") >= 2 })
	r.vault.unseal(t)
	await(t, 20*time.Second, "the lease is renewed", func() bool { return len(r.facts(t, events.TypeCredentialRenewed)) > 0 })
	after, _ := r.state(t)
	if now := current(after); now.Lease != before.Lease || now.Renewals == 0 {
		t.Errorf("in use is %+v, want the lease %s renewed", now, before.Lease)
	}
	if tried := failures(p.Await(t, "/metrics", 200), "renew"); tried > 12 {
		t.Errorf("%v renewals have failed: there is no back-off", tried)
	}
	p.Await(t, "/readyz", 200)
}

// failures reads how often an action has failed.
func failures(metrics, action string) (count float64) {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, fmt.Sprintf("ofitec_rotator_actions_total{action=%q,outcome=\"failed\"} ", action)) {
			_, _ = fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &count) // zero when it is no number
		}
	}
	return count
}

func TestMaxTTLIsADeadlineThatIsPlannedFor(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "12s", "40s")
	r.rotator(t, events.RegionA)
	first := r.settled(t, 1)
	if life := first.DeadlineAt.Sub(first.MintedAt); life != 40*time.Second {
		t.Errorf("the deadline is %s after the birth", life)
	}
	second := r.settled(t, first.Number)
	if second.Trigger != "schedule" {
		t.Errorf("the next version's trigger is %s", second.Trigger)
	}
	if age := second.MintedAt.Sub(first.MintedAt); age < 20*time.Second || age > 36*time.Second {
		t.Errorf("the next version was made at the age of %s, want about 60 %% of 40 s", age)
	}
	renewed := 0
	for _, e := range r.facts(t, events.TypeCredentialRenewed) {
		if strings.Contains(e.ID, ".2-") {
			renewed++
		}
	}
	if renewed < 2 {
		t.Errorf("version 2 was renewed %d times", renewed)
	}
}

// TestKillingTheRotatorAnywhereLeavesExactlyOneVersionInUse goes through the points on two rigs at the same time.
func TestKillingTheRotatorAnywhereLeavesExactlyOneVersionInUse(t *testing.T) {
	points := []string{
		"did Mint", "stored Minted", "did Test", "stored Tested", "did Stage", "stored Staged", "did Shorten", "stored Shortened", "fenced", "revoked", "did End", "stored Ended",
	}
	for half := range 2 {
		t.Run([]string{"first", "second"}[half], func(t *testing.T) {
			t.Parallel() // it mostly waits
			r := startRig(t, "1h", "24h")
			p := r.rotator(t, events.RegionA)
			last := r.settled(t, 1).Number
			p.Terminate(t)
			for n := half; n < len(points); n += 2 {
				last = r.survive(t, points[n], fmt.Sprint("r-", n), last)
			}
			published := map[string]int{}
			for _, e := range r.facts(t) {
				published[e.ID]++
			}
			for id, count := range published {
				if count != 1 {
					t.Errorf("%s was said %d times", id, count)
				}
			}
		})
	}
}

// survive kills a rotator at a point of a rotation, and looks at what its successor makes of it.
func (r *rig) survive(t *testing.T, point, request string, last int64) int64 {
	t.Helper()
	p := r.rotator(t, events.RegionA, "OFITEC_TEST_DIE_AT="+point)
	p.Await(t, "/healthz", 200)
	r.job(t, request)
	p.AwaitEnd(t)
	next := r.rotator(t, events.RegionB)
	now := r.settled(t, last)
	if now.Act == nil || now.Act.Request != request {
		t.Errorf("killed at %q: in use is %+v, which is not what was asked for", point, now)
	}
	t.Logf("killed at %q: version %d is in use after %d", point, now.Number, last)
	next.Terminate(t)
	return now.Number
}

func TestALeaderThatWasPausedWritesNothingWhenItWakes(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	paused := r.rotator(t, events.RegionA)
	first := r.settled(t, 1)
	r.mu.Lock()
	r.verdict = func(int64, events.Region) string { return "silent" }
	r.mu.Unlock()
	r.job(t, "r-1")
	await(t, 30*time.Second, "version 3 is with the deployers", func() bool {
		s, _ := r.state(t)
		return len(s.Versions) == 3 && s.Versions[2].Stage == state.StageCanary
	})
	paused.Signal(t, syscall.SIGSTOP)
	other := r.rotator(t, events.RegionB)
	leader := func() string {
		answer, err := r.etcd.Get(t.Context(), state.KeyRotator)
		must(t, err)
		if len(answer.Kvs) == 0 {
			return ""
		}
		return string(answer.Kvs[0].Value)
	}
	await(t, 30*time.Second, "the other one leads", func() bool { return leader() == "rotator.b" })
	rotated := r.facts(t, events.TypeCredentialRotated)
	payload, err := events.PayloadOf[events.CredentialRotated](rotated[len(rotated)-1])
	must(t, err)
	for _, region := range events.DataRegions {
		_, err := r.bus.Publish(t.Context(), result(t, rotated[len(rotated)-1], payload, region, "deployed"))
		must(t, err)
	}
	now := r.settled(t, first.Number)
	_, before := r.state(t)
	paused.Signal(t, syscall.SIGCONT)
	await(t, 20*time.Second, "the paused one knows that it leads no more", func() bool { return strings.Contains(paused.Output(), "leads no more") })
	paused.Await(t, "/readyz", 200)
	other.Await(t, "/readyz", 200)
	if after := r.settled(t, first.Number); after.Lease != now.Lease {
		t.Errorf("in use is %s, was %s", after.Lease, now.Lease)
	}
	if _, after := r.state(t); after != before {
		t.Errorf("the book was changed from\n%s to\n%s", before, after)
	}
}

func TestAUserThatAFailoverHasLostIsReplacedAndOneThatItHasNotIsKept(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	p := r.rotator(t, events.RegionA)
	first := r.settled(t, 1)
	if first.Epoch != 1 {
		t.Errorf("made under epoch %s", first.Epoch)
	}
	r.epoch(t, 2)
	await(t, 30*time.Second, "the user in use is tried", func() bool { s, _ := r.state(t); return current(s).Verified == 2 })
	if kept := r.settled(t, 1); kept.Lease != first.Lease || kept.Missing {
		t.Errorf("in use is %+v", kept)
	}
	for _, sql := range []string{"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'", "DROP ROLE \"%s\""} {
		r.database.Super(t, "ofitec_prod", fmt.Sprintf(sql, first.User))
	}
	r.epoch(t, 3)
	if second := r.settled(t, first.Number); second.Trigger != "failover" || second.Epoch != 3 {
		t.Errorf("the lost user is followed by %+v", second)
	}
	r.checkDatabaseAway(t, p)
}

// checkDatabaseAway stops the database when an old user is to be seen out.
func (r *rig) checkDatabaseAway(t *testing.T, p *chassistest.Process) {
	t.Helper()
	before := current(r.stateOf(t, credential))
	failed := failures(p.Await(t, "/metrics", 200), "end")
	r.job(t, "r-away")
	now := r.inUse(t, credential, before.Number)
	r.database.Run(t, "pg_ctl", "-w", "-D", r.database.DataDir, "-m", "immediate", "stop")
	await(t, 30*time.Second, "the end of the old user has failed", func() bool { return failures(p.Await(t, "/metrics", 200), "end") > failed },
		func() string { return p.Await(t, "/metrics", 200) })
	if after := current(r.stateOf(t, credential)); after.Lease != now.Lease {
		t.Errorf("in use is %+v, want the new user", after)
	}
	r.database.Start(t)
	if after := r.settled(t, before.Number); after.Lease != now.Lease {
		t.Errorf("in use is %+v, want the user made before the database was away", after)
	}
}

func TestANumberThatAnotherWriterTakesInKVIsLeftToIt(t *testing.T) {
	t.Parallel() // it mostly waits
	r := startRig(t, "1h", "24h")
	_, err := r.vault.root.Logical().Delete("secret/metadata/" + path)
	must(t, err)
	gate := shortDir(t) + "/open"
	r.rotator(t, events.RegionA, "OFITEC_TEST_HOLD_AT=did Test="+gate)
	await(t, 60*time.Second, "version 1 is made", func() bool { s, _ := r.state(t); return len(s.Versions) == 1 })
	r.vault.write(t, "secret/data/"+path, map[string]any{"data": map[string]any{"username": "odoo_bootstrap", "password": postgrestest.Password}})
	must(t, os.WriteFile(gate, nil, 0o600))
	if now := r.settled(t, 1); now.Number != 2 {
		t.Errorf("in use is %+v", now)
	}
	if s, _ := r.state(t); s.Versions[0].Cause != "lost" {
		t.Errorf("version 1 is %+v", s.Versions[0])
	}
	if user, _, ok := r.vault.secret(t, 1); !ok || user != "odoo_bootstrap" {
		t.Errorf("version 1 in KV v2 is %q now", user)
	}
}

// checkStray makes a lease that nobody records.
func (r *rig) checkStray(t *testing.T) {
	t.Helper()
	now := r.settled(t, 1)
	made, err := r.vault.root.Logical().Read("database/creds/odoo-app")
	must(t, err)
	stray := made.Data["username"].(string)
	await(t, 30*time.Second, "the stray user is ended", func() bool {
		return !strings.Contains(r.database.Super(t, "ofitec_prod", "SELECT coalesce(string_agg(rolname, ','), '') FROM pg_roles"), stray)
	})
	if after := r.settled(t, 1); after.Lease != now.Lease {
		t.Errorf("in use is %s, was %s", after.Lease, now.Lease)
	}
}

// checkAlienJob asks for a rotation of what nobody rotates: the job is parked with the reason.
func (r *rig) checkAlienJob(t *testing.T) {
	t.Helper()
	r.jobFor(t, "else", "r-9")
	await(t, 30*time.Second, "the job is parked", func() bool {
		parked := 0
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		must(t, r.bus.Replay(ctx, bus.Range{Stream: events.StreamParked}, func(m bus.Replayed) error {
			parked++
			if reason := fmt.Sprint(m.Header[bus.HeaderParkedReason]); !strings.Contains(reason, "no credential else") {
				t.Errorf("parked because %s", reason)
			}
			if !json.Valid(m.Raw) {
				t.Error("the parked message is not what came")
			}
			return nil
		}))
		return parked == 1
	})
}
