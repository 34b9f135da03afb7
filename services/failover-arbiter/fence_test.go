package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// session opens one of the application, past the proxy, and runs what it likes to set.
func (s *side) session(t *testing.T, sets ...string) *pgx.Conn {
	t.Helper()
	conn, err := dialFrom(context.Background(), s.database)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	for _, sql := range sets {
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return conn
}

// fences gives the intent that ends a mandate of a's, and waits for the receipt.
func (s *side) fences(t *testing.T, epoch events.Epoch) events.Receipt {
	t.Helper()
	both(moving(events.RegionA, epoch, state.PhaseIntent, events.RegionB, events.CauseDown), s)
	await(t, 30*time.Second, "the receipt", func() bool { r := s.report().Receipt; return r != nil && r.Epoch == epoch })
	return *s.report().Receipt
}

func TestTheFenceHoldsWhateverASessionSetsAndThroughARestart(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	rows := func() string { return a.Super(t, "ofitec_prod", "SELECT count(*) FROM ledger") }
	stubborn := map[string]*pgx.Conn{
		"an open transaction":     a.session(t, "BEGIN", "INSERT INTO ledger VALUES (1)"),
		"its own ideas of time":   a.session(t, "SET client_connection_check_interval = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0"),
		"a wish to write":         a.session(t, "SET default_transaction_read_only = off; SET synchronous_commit = off", "BEGIN READ WRITE", "INSERT INTO ledger VALUES (2)"),
		"a role of its own":       a.session(t, "RESET ROLE", "SET ROLE odoo_owner", "BEGIN", "INSERT INTO ledger VALUES (3)"),
		"a lock on everything":    a.session(t, "CREATE TABLE locked (n int)", "BEGIN", "LOCK TABLE locked IN ACCESS EXCLUSIVE MODE", "INSERT INTO ledger VALUES (4)"),
		"a cursor that is held":   a.session(t, "BEGIN", "DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 1000)", "INSERT INTO ledger VALUES (5)"),
		"a subtransaction":        a.session(t, "BEGIN", "INSERT INTO ledger VALUES (6)", "SAVEPOINT one", "INSERT INTO ledger VALUES (7)"),
		"a listener":              a.session(t, "LISTEN anything", "BEGIN", "INSERT INTO ledger VALUES (8)"),
		"a prepared statement":    a.session(t, "PREPARE add AS INSERT INTO ledger VALUES (9)"),
		"a name that is not ours": a.session(t, "SET application_name = 'failover-arbiter look'", "BEGIN", "INSERT INTO ledger VALUES (10)"),
	}
	if _, err := a.session(t, "BEGIN", "INSERT INTO ledger VALUES (11)").Exec(context.Background(), "PREPARE TRANSACTION 'later'"); err == nil {
		t.Error("a transaction was prepared: it could be committed at any time")
	}
	// One that catches all errors, and never waits for its client.
	running := a.session(t, "SET client_connection_check_interval = 0")
	ended := make(chan error, 1)
	go func() {
		_, err := running.Exec(context.Background(), `DO $$ BEGIN LOOP BEGIN PERFORM pg_sleep(0.01); EXCEPTION WHEN OTHERS THEN NULL; WHEN query_canceled THEN NULL; END; END LOOP; END $$`)
		ended <- err
	}()
	time.Sleep(200 * time.Millisecond) // it runs
	if r := a.fences(t, 1); r.Stopped || !r.Refused {
		t.Errorf("receipt %+v", r)
	}
	for name, conn := range stubborn {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		_, first := conn.Exec(ctx, "COMMIT")
		_, second := conn.Exec(ctx, "INSERT INTO ledger VALUES (100)")
		cancel()
		if first == nil || second == nil {
			t.Errorf("a session with %s lives after the receipt", name)
		}
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an endless statement ended well")
		}
	case <-time.After(3 * time.Second):
		t.Error("a statement runs after the receipt")
	}
	if got := rows(); got != "0" {
		t.Errorf("%s rows were committed", got)
	}

	// Somebody restarts the database, by hand and past the supervisor.
	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "fast", "-l", a.Dir+"/log", "-o", "-c fsync=off -c config_file="+a.ConfDir+"/postgresql.conf", "restart")
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(50 * time.Millisecond) {
		if conn, err := dialFrom(context.Background(), a.database); err == nil {
			conn.Close(context.Background())
			t.Fatal("an application got in after a restart")
		}
	}
	if a.open() {
		t.Error("the proxy is open")
	}

	// The mandate returns, and a session is stopped that no signal but the last one reaches: the database is stopped, and started fenced.
	both(steady(events.RegionA, 3), a)
	await(t, 20*time.Second, "a is open again", a.open)
	frozen := a.session(t, "BEGIN", "INSERT INTO ledger VALUES (12)")
	must(t, syscall.Kill(int(frozen.PgConn().PID()), syscall.SIGSTOP))
	if r := a.fences(t, 3); !r.Stopped || !r.Refused {
		t.Errorf("receipt %+v", r)
	}
	if got := rows(); got != "0" {
		t.Errorf("%s rows were committed", got)
	}
	if a.hands.Counts().Stops.Load() == 0 {
		t.Error("the database was not stopped")
	}
}

// The disk of a's database is full. What the fence needs stands elsewhere, and the failover works.
func TestOnAFullDiskTheFenceAndTheFailoverWork(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("a drill: OFITEC_DRILLS=1")
	}
	if os.Geteuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	small := func(d *database) {
		must(t, os.MkdirAll(d.DataDir, 0o700))
		if err := syscall.Mount("tmpfs", d.DataDir, "tmpfs", 0, "size=192m,mode=0700,uid="+strconv.Itoa(int(d.Account.Uid))+",gid="+strconv.Itoa(int(d.Account.Gid))); err != nil {
			t.Skip("cannot mount a small file system: " + err.Error())
		}
		t.Cleanup(func() {
			_ = d.Command("pg_ctl", "-D", d.DataDir, "-m", "immediate", "stop").Run() // it may be stopped
			if err := syscall.Unmount(d.DataDir, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
	}
	a, b := startPairOn(t, small)
	begin(t, a, b)
	l := write(t, func(ctx context.Context) (*pgx.Conn, error) { return dialFrom(ctx, a.database) }, 2)
	await(t, 20*time.Second, "some rows are acknowledged", func() bool { return l.count() > 100 })
	fill(t, filepath.Join(a.DataDir, "filler"))
	hungry := a.session(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := hungry.Exec(ctx, "INSERT INTO ledger SELECT generate_series(1000000, 1020000)"); err == nil {
		t.Fatal("there was room for 20000 rows")
	}
	r := a.fences(t, 1)
	t.Logf("%d rows were acknowledged; the receipt has counts %v, stopped %t", l.count(), r.Counts, r.Stopped)
	l.working.Wait()
	if conn, err := dialFrom(context.Background(), a.database); err == nil {
		conn.Close(context.Background())
		t.Error("an application got in after the receipt")
	}
	await(t, 20*time.Second, "b has everything that a flushed", func() bool { return b.report().Database.FlushLSN >= r.FlushLSN })
	down := moving(events.RegionA, 1, state.PhaseFenced, events.RegionB, events.CauseDown)
	both(down, b)
	await(t, 20*time.Second, "b's answer", func() bool { return b.report().Promotion != nil && b.report().Promotion.Done })
	both(granted(down, b.report().Promotion), b)
	await(t, 15*time.Second, "b is open", b.open)
	if lost := l.lost(t, b.database); len(lost) > 0 {
		t.Errorf("b lacks %v", lost)
	}
}

// fill leaves no room on a file system.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	n, err := io.Copy(file, io.LimitReader(zeros{}, 1<<30))
	if err == nil {
		t.Fatalf("%d bytes, and there is room left", n)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
