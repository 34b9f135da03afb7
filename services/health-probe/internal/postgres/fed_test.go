package postgres

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

// TestAStandbyThatIsFedFromTheArchiveHasWhatItWasFed: its receiver stands where the stream ended, and so it seemed to fall behind while it caught up.
func TestAStandbyThatIsFedFromTheArchiveHasWhatItWasFed(t *testing.T) {
	a := postgrestest.Start(t, false)
	archive := filepath.Join(a.Dir, "archive")
	must(t, os.Mkdir(archive, 0o755)) //nolint:gosec // both servers' user reads it
	a.Super(t, "postgres", "SELECT pg_create_physical_replication_slot('region_b', true)")
	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "fast", "stop")

	b := postgrestest.New(t, "region_b", &a.TLS)
	b.Upstream, b.RestoreCommand = a.Listen, "cp "+archive+"/%f %p"
	b.Configure(t, false)
	if said, err := exec.CommandContext(t.Context(), "cp", "-a", a.DataDir, b.DataDir).CombinedOutput(); err != nil { //nolint:gosec // folders of this test
		t.Fatalf("copy the cluster: %v: %s", err, said)
	}
	b.Write(t, filepath.Join(b.DataDir, "standby.signal"), nil)
	a.Start(t)
	b.Start(t)
	s := server(t, b, postgrestest.Password)

	// give has the primary write, and puts its WAL into the archive.
	give := func() events.LSN {
		t.Helper()
		a.Super(t, "postgres", "CREATE TABLE IF NOT EXISTS written (at timestamptz)")
		a.Super(t, "postgres", "INSERT INTO written VALUES (now())")
		end, err := events.ParseLSN(a.Super(t, "postgres", "SELECT pg_switch_wal()"))
		must(t, err)
		if said, err := exec.CommandContext(t.Context(), "sh", "-c", `cp -a "$1"/0* "$2"/`, "sh", a.DataDir+"/pg_wal", archive).CombinedOutput(); err != nil { //nolint:gosec // folders of this test
			t.Fatalf("archive: %v: %s", err, said)
		}
		return end
	}
	await := func(what string, done func(*observation.Database) bool) *observation.Database {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			seen := look(t, s, events.OutcomeOK, "").Database
			if done(seen) {
				return seen
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within 30 s; it has received %v and replayed %v, timeline %d", what, seen.ReceivedLSN, seen.ReplayedLSN, seen.Timeline)
			}
		}
	}
	await("b streams", func(d *observation.Database) bool { return *d.Streaming })

	// Its stream ends, as when its slot is lost; the archive goes on.
	b.Upstream = ""
	b.Configure(t, false)
	b.Super(t, "postgres", "SELECT pg_reload_conf()")
	await("b's stream ends", func(d *observation.Database) bool { return !*d.Streaming })
	end := give()
	fed := await("b is fed", func(d *observation.Database) bool { return *d.ReplayedLSN >= end })
	if *fed.ReceivedLSN < *fed.ReplayedLSN {
		t.Errorf("a standby that has replayed up to %s has %s only", fed.ReplayedLSN, fed.ReceivedLSN)
	}

	// The primary goes on on a timeline of its own; no restartpoint has told the standby's control file of it.
	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "fast", "stop")
	a.Write(t, filepath.Join(a.DataDir, "standby.signal"), nil)
	a.Start(t)
	a.Super(t, "postgres", "SELECT pg_promote()")
	end = give()
	if fed = await("b is fed with the new timeline", func(d *observation.Database) bool { return *d.ReplayedLSN >= end }); fed.Timeline != 2 || *fed.ReceivedLSN < end {
		t.Errorf("a standby that has replayed timeline 2 up to %s is on timeline %d and has %s", end, fed.Timeline, fed.ReceivedLSN)
	}
}
