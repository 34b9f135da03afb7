package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// afterTheMandate freezes a region's arbiter and proxy under load and gives how many commits were acknowledged later than the mandate can have lasted. The sessions come
// past the proxy, from its own address: nothing is between them and the database any more.
func afterTheMandate(t *testing.T, variables ...string) (before, after int) {
	t.Helper()
	r := startRegion(t)
	arbiter := r.arbiter(t, "arbiter", r.address, variables...)
	await(t, 15*time.Second, "applications can log in", r.open)
	r.database.Super(t, "ofitec_prod", "SET synchronous_commit = local; SET ROLE odoo_owner; CREATE TABLE ledger (n int)")
	l := write(t, func(ctx context.Context) (*pgx.Conn, error) { return dialFrom(ctx, r.database) }, 2)
	took := await(t, 15*time.Second, "some rows are acknowledged", func() bool { return l.count() > 1000 })
	t.Logf("%d commits in %s", l.count(), took)
	for _, frozen := range []*exec.Cmd{arbiter, r.haproxy} {
		must(t, frozen.Process.Signal(syscall.SIGSTOP))
	}
	time.Sleep(timing.Local().Mandate)
	before = l.count()
	time.Sleep(2 * time.Second)

	// The arbiter wakes up without a mandate: it confirms nothing of what waits, and the fence ends it.
	must(t, arbiter.Process.Signal(syscall.SIGTERM))
	must(t, arbiter.Process.Signal(syscall.SIGCONT))
	_ = arbiter.Wait() // its status does not matter
	l.working.Wait()
	after = l.count() - before
	return before, after
}

func TestWithTheWitnessNoCommitIsAcknowledgedAfterTheMandate(t *testing.T) {
	before, after := afterTheMandate(t, "OFITEC_COMMIT_WITNESS=true")
	t.Logf("%d commits before, %d after the mandate's end", before, after)
	if after > 0 {
		t.Errorf("%d commits were acknowledged after the mandate's end", after)
	}
}

// Without it they are: what is between a session and the database is all that ends it then.
func TestWithoutTheWitnessASessionPastTheProxyGoesOn(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("shows that the test above finds commits: OFITEC_DRILLS=1")
	}
	before, after := afterTheMandate(t)
	t.Logf("%d commits before, %d after the mandate's end", before, after)
	if after == 0 {
		t.Error("no commit was acknowledged: the test of the witness proves nothing")
	}
}
