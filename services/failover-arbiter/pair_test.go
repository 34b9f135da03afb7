package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// dialFrom opens a session of the application as the proxy does.
func dialFrom(ctx context.Context, d *database) (*pgx.Conn, error) {
	host, port, _ := net.SplitHostPort(d.Listen)
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=odoo_bootstrap password=%s dbname=ofitec_prod sslmode=verify-full sslrootcert=%s", host, port, password, d.TLS.CA))
	if err != nil {
		return nil, err
	}
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(d.ProxySource)}}).DialContext
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return pgx.ConnectConfig(ctx, config)
}

func steady(active events.Region, epoch events.Epoch) state.Failover {
	return state.Failover{Active: active, Epoch: epoch, Phase: state.PhaseSteady}
}

func moving(active events.Region, epoch events.Epoch, phase state.Phase, to events.Region, cause events.Cause) state.Failover {
	return state.Failover{Active: active, Epoch: epoch, Phase: phase, Intent: &state.Intent{Epoch: epoch + 1, From: active, To: to, Cause: cause}}
}

// granted is the state after a promotion, with the region that has to rejoin.
func granted(f state.Failover, p *state.Promotion) state.Failover {
	next := steady(f.Intent.To, f.Intent.Epoch)
	next.Rejoin = &state.Rejoin{Region: f.Intent.From, Epoch: f.Epoch, Timeline: p.Timeline, ForkLSN: &p.LSN}
	return next
}

func both(f state.Failover, sides ...*side) {
	for _, s := range sides {
		s.is(f)
	}
}

// begin brings the pair to where a is active and b follows.
func begin(t *testing.T, a, b *side) {
	t.Helper()
	both(steady(events.RegionA, 1), a, b)
	await(t, 15*time.Second, "a is open and b follows", func() bool {
		return a.open() && b.report().Database.Condition == state.DatabaseStandby && b.report().Database.Streaming && b.report().Database.HeartbeatNumber > 0
	})
	a.Super(t, "ofitec_prod", "SET ROLE odoo_owner; CREATE TABLE ledger (n int)")
}

func TestAFailoverWithTheOldPrimaryAlive(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	ctx := context.Background()
	session, err := dialFrom(ctx, a.database)
	must(t, err)
	defer session.Close(ctx)
	exec := func(sql string) error { _, err := session.Exec(ctx, sql); return err }
	must(t, exec("INSERT INTO ledger VALUES (1)"))
	if err := a.options.Door.Refuses(ctx); !errors.Is(err, postgres.ErrNotRefused) {
		t.Errorf("while a is open, a trial gives %v", err)
	}
	if _, err := a.options.Upstream.Prepare(ctx, 1); !errors.Is(err, postgres.ErrNotPrimary) {
		t.Errorf("b would be copied: %v", err)
	}
	must(t, exec("BEGIN"))
	must(t, exec("INSERT INTO ledger VALUES (2)"))

	intent := moving(events.RegionA, 1, state.PhaseIntent, events.RegionB, events.CauseDown)
	both(intent, a, b)
	await(t, 10*time.Second, "a's receipt", func() bool { return a.report().Receipt != nil })
	if r := a.report().Receipt; r.Epoch != 1 || !r.Refused || r.Stopped || len(r.Problems()) > 0 {
		t.Errorf("receipt %+v", r)
	}
	if err := exec("COMMIT"); err == nil {
		t.Error("a transaction that was open at the receipt was committed")
	}
	if conn, err := dialFrom(ctx, a.database); err == nil {
		conn.Close(ctx)
		t.Error("an application got in after the receipt")
	}

	fenced := moving(events.RegionA, 1, state.PhaseFenced, events.RegionB, events.CauseDown)
	both(fenced, a, b)
	await(t, 15*time.Second, "b's answer", func() bool { return b.report().Promotion != nil })
	p := b.report().Promotion
	if !p.Done || p.Epoch != 2 || p.Timeline != 2 || p.LSN == 0 {
		t.Fatalf("promotion %+v", p)
	}
	if b.open() || b.Super(t, "postgres", "SELECT pg_is_in_recovery()") != "f" {
		t.Error("b is open before it has the mandate, or was not promoted")
	}
	if conn, err := dialFrom(ctx, b.database); err == nil { // whatever the proxy does
		conn.Close(ctx)
		t.Error("an application got in before the mandate")
	}
	// The process that promoted dies before anybody has read its answer: the next one answers the same.
	b.stop()
	b.mu.Lock()
	b.reported = state.Report{}
	b.mu.Unlock()
	b.work(t)
	await(t, 15*time.Second, "the answer of b's next process", func() bool { return b.report().Promotion != nil })
	if again := b.report().Promotion; !again.Done || again.Timeline != p.Timeline || again.LSN != p.LSN || again.Epoch != p.Epoch {
		t.Errorf("first %+v, then %+v", p, again)
	}

	a.Super(t, "ofitec_prod", "INSERT INTO ledger VALUES (99)") // the hole that a frozen region leaves: b never has it
	both(granted(fenced, p), a, b)
	await(t, 10*time.Second, "b is open", b.open)
	b.Super(t, "ofitec_prod", "INSERT INTO ledger VALUES (3)")
	await(t, 60*time.Second, "a is a standby again", func() bool { return a.report().Rejoined != nil })
	if j := a.report().Rejoined; j.Manner != "rewound" || j.Epoch != 2 || j.Timeline != 2 || j.Discarded == 0 || j.ForkLSN != p.LSN || a.kept("data.diverged-wal") == 0 {
		t.Errorf("rejoined %+v", j)
	}
	await(t, 10*time.Second, "a has b's writes", func() bool {
		return a.Super(t, "ofitec_prod", "SELECT string_agg(n::text, ',' ORDER BY n) FROM ledger") == "1,3"
	})
	if got := a.report().Receipt; got != nil && got.Epoch != 1 {
		t.Errorf("receipt %+v", got)
	}
}

func TestASwitchoverLosesNothingAndTheOldPrimaryFollowsWithoutACopy(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	a.Super(t, "ofitec_prod", "INSERT INTO ledger SELECT generate_series(1, 1000)")
	both(moving(events.RegionA, 1, state.PhaseIntent, events.RegionB, events.CauseSwitchover), a, b)
	await(t, 20*time.Second, "a's receipt", func() bool { return a.report().Receipt != nil })
	r := a.report().Receipt
	if !r.Stopped || !r.Refused || r.Epoch != 1 || r.Timeline != 1 || a.runs() {
		t.Errorf("receipt %+v", r)
	}
	await(t, 10*time.Second, "b has received all of it", func() bool {
		d := b.report().Database
		return d.Condition == state.DatabaseStandby && d.Timeline == r.Timeline && d.FlushLSN >= r.FlushLSN
	})
	fenced := moving(events.RegionA, 1, state.PhaseFenced, events.RegionB, events.CauseSwitchover)
	both(fenced, a, b)
	await(t, 15*time.Second, "b's answer", func() bool { return b.report().Promotion != nil })
	both(granted(fenced, b.report().Promotion), a, b)
	await(t, 10*time.Second, "b is open", b.open)
	await(t, 30*time.Second, "a is a standby again", func() bool { return a.report().Rejoined != nil })
	if j := a.report().Rejoined; j.Manner != "followed" || j.Timeline != 2 || a.kept("data.diverged") > 0 {
		t.Errorf("rejoined %+v", j)
	}
	if got := a.Super(t, "ofitec_prod", "SELECT count(*) FROM ledger"); got != "1000" {
		t.Errorf("a has %s rows", got)
	}
	if got := a.Super(t, "postgres", "SELECT count(*) FROM pg_replication_slots"); got != "0" {
		t.Errorf("a keeps %s slots", got)
	}
	// The next failover asks on which timeline a is when nobody streams to it any more: its control file says the one before.
	b.Run(t, "pg_ctl", "-D", b.DataDir, "-m", "immediate", "stop")
	await(t, 15*time.Second, "a streams no more", func() bool {
		d := a.report().Database
		return d.Condition == state.DatabaseStandby && !d.Streaming
	})
	if d := a.report().Database; d.Timeline != 2 {
		t.Errorf("a has followed timeline 2 and says %d", d.Timeline)
	}
}

func TestASwitchoverThatIsGivenUpReopensUnderANewEpoch(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	both(moving(events.RegionA, 1, state.PhaseIntent, events.RegionB, events.CauseSwitchover), a, b)
	await(t, 20*time.Second, "a is handed over", func() bool { return a.report().Receipt != nil && !a.runs() })
	a.stop() // the process that has stopped the database is not the one that starts it
	a.work(t)
	both(steady(events.RegionA, 3), a, b)
	await(t, 15*time.Second, "a is open again", func() bool { return a.open() && a.report().Receipt == nil })
	if epoch := a.Super(t, "ofitec_prod", "SELECT epoch FROM ofitec.epoch"); epoch != "3" {
		t.Errorf("the database has recorded epoch %s", epoch)
	}
	await(t, 15*time.Second, "b follows", func() bool { return b.report().Database.Streaming })
	if p := b.report().Promotion; p != nil {
		t.Errorf("b was promoted: %+v", p)
	}
}

func TestAPromotionOfAnEarlierEpochIsRefused(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	must(t, b.options.Epochs.Raise(7))
	both(moving(events.RegionA, 1, state.PhaseFenced, events.RegionB, events.CauseDown), a, b)
	time.Sleep(time.Second)
	if b.Super(t, "postgres", "SELECT pg_is_in_recovery()") != "t" {
		t.Error("b was promoted under an epoch that it has seen the end of")
	}
}

func TestDestroyedDataOfAStandbyAreCopiedAndOfTheActiveRegionNeverMade(t *testing.T) {
	a, b := startPair(t)
	begin(t, a, b)
	b.Run(t, "pg_ctl", "-w", "-D", b.DataDir, "-m", "immediate", "stop")
	must(t, os.RemoveAll(b.DataDir))
	await(t, 60*time.Second, "b follows again", func() bool {
		d := b.report().Database
		return d.Condition == state.DatabaseStandby && d.Streaming
	})
	a.Super(t, "ofitec_prod", "INSERT INTO ledger VALUES (1)")
	await(t, 10*time.Second, "b has it", func() bool { return b.Super(t, "ofitec_prod", "SELECT count(*) FROM ledger") == "1" })

	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "immediate", "stop")
	must(t, os.RemoveAll(a.DataDir))
	time.Sleep(3 * time.Second)
	if entries, _ := os.ReadDir(a.DataDir); len(entries) > 0 {
		t.Errorf("something was made in a's place: %v", entries)
	}
	if d := a.report().Database; d.Condition == state.DatabasePrimary || !strings.Contains(string(d.Condition), "down") {
		t.Errorf("a is said to be %+v", d)
	}
}
