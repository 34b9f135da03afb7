package main

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

func TestItTakesTheFirstMandateAndOpensTheRegion(t *testing.T) {
	r := startRegion(t)
	if r.open() {
		t.Fatal("open before any arbiter runs")
	}
	began := time.Now()
	r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "/mandate says yes", func() bool { status, _ := says(r.address, "/mandate"); return status == 200 })
	t.Logf("/mandate says yes %s after the start", time.Since(began))
	await(t, 3*time.Second, "applications can log in", r.open)
	t.Logf("open %s after the start", time.Since(began))
	if status, body := says(r.address, "/standby"); status != 503 || body.Reason != "this region holds the mandate" {
		t.Errorf("/standby answers %d %+v", status, body)
	}
	await(t, 3*time.Second, "heartbeats are written", func() bool {
		return r.database.Super(t, "ofitec_prod", "SELECT number > 2 AND epoch = 1 AND region = 'a' FROM ofitec.heartbeat") == "t"
	})
	if epoch := r.database.Super(t, "ofitec_prod", "SELECT epoch FROM ofitec.epoch"); epoch != "1" {
		t.Errorf("the database has recorded epoch %s", epoch)
	}
}

func TestAProxyThatRestartsIsOpenedAgain(t *testing.T) {
	r := startRegion(t)
	r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "applications can log in", r.open)
	must(t, r.haproxy.Process.Kill())
	_ = r.haproxy.Wait()
	r.startProxy(t)
	t.Logf("open %s after the proxy's restart", await(t, 3*time.Second, "applications can log in", r.open))
}

func TestAStoppedArbiterCutsItsRegionWithinDAndC(t *testing.T) {
	r := startRegion(t)
	arbiter := r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "applications can log in", r.open)
	time.Sleep(300 * time.Millisecond) // a check has passed since
	conn, err := r.database.login(context.Background(), r.proxy.Bind)
	must(t, err)
	limit := timing.Local().Detection() + timing.Local().ClientCheck

	must(t, arbiter.Process.Signal(syscall.SIGSTOP))
	stopped := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = conn.Exec(ctx, "SELECT pg_sleep(9)")
	cut := time.Since(stopped)
	if err == nil || cut > limit {
		t.Errorf("the session got %v after %s, want its end within %s", err, cut, limit)
	}
	if r.open() {
		t.Error("a new login got in")
	}
	took := await(t, 5*time.Second, "the cut session's statement has ended", func() bool {
		return r.database.Super(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'odoo_bootstrap'") == "0"
	})
	t.Logf("the session was cut %s after the arbiter stopped, its statement was gone %s later; limit %s in all", cut, took, limit)
	if total := time.Since(stopped); total > limit+300*time.Millisecond { // psql's own start
		t.Errorf("a statement ran for %s", total)
	}
}

func TestWithoutEtcdItClosesBeforeItsMandateEndsAndReopensAfter(t *testing.T) {
	r := startRegion(t)
	r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "applications can log in", r.open)
	conn, err := r.database.login(context.Background(), r.proxy.Bind)
	must(t, err)
	r.etcd.stop()
	stopped := time.Now()
	p := timing.Local()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT pg_sleep(9)"); err == nil || time.Since(stopped) > p.Mandate {
		t.Errorf("the session got %v after %s, want its end before %s", err, time.Since(stopped), p.Mandate)
	}
	if status, body := says(r.address, "/mandate"); status != 503 {
		t.Errorf("/mandate answers %d %+v", status, body)
	}
	t.Logf("cut %s after etcd went, M is %s", time.Since(stopped), p.Mandate)
	if r.open() {
		t.Error("a new login got in")
	}
	time.Sleep(1500 * time.Millisecond) // the fence has counted twice
	if direct := r.database.Super(t, "ofitec_prod", "SELECT count(*) FROM pg_hba_file_rules WHERE '{+odoo_owner}'::text[] && user_name"); direct != "0" {
		t.Error("the fenced rules are not in force")
	}
	r.etcd.start(t)
	back := time.Now()
	await(t, 5*time.Second, "applications can log in", r.open)
	t.Logf("open again %s after etcd came back", time.Since(back))
	if _, body := says(r.address, "/mandate"); body.Epoch != 1 {
		t.Errorf("reopened under epoch %d", body.Epoch)
	}
}

func TestTwoCopiesAreNeverBothOpen(t *testing.T) {
	r := startRegion(t)
	first := r.arbiter(t, "one", r.address)
	await(t, 10*time.Second, "the first copy holds the mandate", func() bool { status, _ := says(r.address, "/mandate"); return status == 200 })
	other := freeAddr(t)
	r.arbiter(t, "two", other)
	both := func() (bool, bool) {
		one, _ := says(r.address, "/mandate")
		two, _ := says(other, "/mandate")
		return one == 200, two == 200
	}
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(20 * time.Millisecond) {
		if one, two := both(); two {
			t.Fatalf("the second copy is open, the first %t", one)
		}
	}
	told := time.Now() // the last renewal was sent at most one interval before
	must(t, first.Process.Signal(syscall.SIGTERM))
	_ = first.Wait()
	await(t, 12*time.Second, "the second copy holds the mandate", func() bool { _, two := both(); return two })
	p := timing.Local()
	if took, least := time.Since(told), p.Mandate+p.Delta-p.Renew-p.RenewDeadline; took < least {
		t.Errorf("the second copy took over %s after the first one was told to end, before that mandate had ended for everyone (%s)", took, least)
	}
}

func TestSIGTERMClosesAndFencesFirst(t *testing.T) {
	r := startRegion(t)
	arbiter := r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "applications can log in", r.open)
	conn, err := r.database.login(context.Background(), r.proxy.Bind)
	must(t, err)
	must(t, arbiter.Process.Signal(syscall.SIGTERM))
	if err := arbiter.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := conn.Exec(context.Background(), "SELECT 1"); err == nil || r.open() {
		t.Error("open after the arbiter's end")
	}
	if left := r.database.Super(t, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE usename = 'odoo_bootstrap'"); left != "0" {
		t.Errorf("%s sessions are left", left)
	}
	// The next process on the same data folder needs no waiting: the folder's lock says that this one is dead.
	began := time.Now()
	r.arbiter(t, "arbiter", r.address)
	await(t, 3*time.Second, "/mandate says yes", func() bool { status, _ := says(r.address, "/mandate"); return status == 200 })
	t.Logf("/mandate says yes %s after the restart", time.Since(began))
}
