package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/archive"
)

// archiveOf is a side's way to the repository.
func archiveOf(s *side) archive.Archive {
	return archive.Archive{Program: deploy.PgBackRest, File: s.ConfDir + "/pgbackrest.conf", Stanza: deploy.ArchiveStanza, ConfDir: s.ConfDir, DataDir: s.DataDir}
}

// fed says whether a server has a command to take WAL from the archive.
func (s *side) fed(t *testing.T) bool { return s.Super(t, "postgres", "SHOW restore_command") != "" }

func TestAStandbyThatWasAwayForLongerThanItsSlotKeepsWALIsFedFromTheArchive(t *testing.T) {
	if _, err := os.Stat(deploy.PgBackRest); err != nil {
		t.Skip("pgBackRest is not installed: this is tested where it is")
	}
	little := func(p *deploy.Postgres) {
		p.Archiving, p.WALKeepSize, p.MaxSlotWALKeepSize, p.MaxWALSize = true, "16MB", "16MB", "32MB"
	}
	a, b := startPairAs(t, little, func(*database) {}, func(s *side) { s.options.Feed, s.options.FeedAfter = archiveOf(s), time.Second })
	objects := newStore(t, a.database)
	objects.configure(t, b.database)
	objects.start(t)
	begin(t, a, b)
	await(t, 30*time.Second, "the archive is begun", func() bool { return archiveOf(a).Begin(t.Context()) == nil })
	_, err := archiveOf(a).Switch(true)
	must(t, err)
	a.Super(t, "postgres", "SELECT pg_reload_conf()")
	if b.fed(t) {
		t.Error("a standby that streams has a command to take WAL from the archive")
	}

	b.Run(t, "pg_ctl", "-w", "-D", b.DataDir, "-m", "fast", "stop")
	must(t, os.WriteFile(b.DataDir+"/seen.before", nil, 0o600)) // a copy of the other cluster would not have it
	for range 4 {                                               // one after the other: what waits may not be more than the archive's bound
		a.filled(t, 1)
		await(t, time.Minute, "a segment is archived", func() bool {
			return a.Super(t, "postgres", "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'") == "0"
		})
	}
	a.Super(t, "postgres", "CHECKPOINT")
	if got := a.Super(t, "postgres", "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'region_b'"); got != "lost" {
		t.Fatalf("the slot of b is %s: its WAL is still there", got)
	}
	must(t, b.boot())
	await(t, time.Minute, "b streams again", func() bool {
		d := b.report().Database
		return d.Condition == state.DatabaseStandby && d.Streaming && d.FlushLSN >= a.report().Database.FlushLSN && !b.fed(t)
	})
	if got := b.Super(t, "ofitec_prod", "SELECT count(*) FROM ledger"); got != "4" {
		t.Errorf("b has %s rows, want 4", got)
	}
	if _, err := os.Stat(b.DataDir + "/seen.before"); err != nil {
		t.Errorf("b's cluster was replaced: %v", err)
	}
	if said, _ := exec.Command("grep", "-c", "restored log file", b.Dir+"/log").Output(); strings.TrimSpace(string(said)) == "0" {
		t.Error("nothing was restored from the archive")
	}
	if got := a.Super(t, "postgres", "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'region_b' AND active"); got != "reserved" && got != "extended" {
		t.Errorf("the slot of b is %q", got)
	}

	// What the runbook says for a standby that the archive cannot help either.
	must(t, os.WriteFile(b.Dir+"/rejoin.inprogress", nil, 0o600))
	await(t, time.Minute, "b is copied", func() bool {
		_, err := os.Stat(b.DataDir + "/seen.before")
		return os.IsNotExist(err) && b.runs() && b.report().Database.Streaming
	})

	// The store hangs, and then a dies: the standby is asking an archive that does not answer when it has to be promoted.
	must(t, objects.running.Process.Signal(syscall.SIGSTOP))
	t.Cleanup(func() { _ = objects.running.Process.Signal(syscall.SIGCONT) })
	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "immediate", "stop")
	await(t, 20*time.Second, "b asks the archive", func() bool {
		running, _ := exec.Command("ps", "-eo", "args").Output()
		return strings.Contains(string(running), deploy.PgBackRest+" --config="+b.ConfDir+"/pgbackrest.conf --stanza="+deploy.ArchiveStanza+" archive-get")
	})
	began := time.Now()
	both(moving(events.RegionA, 1, state.PhaseFenced, events.RegionB, events.CauseDown), a, b)
	await(t, 20*time.Second, "b is promoted", func() bool { return b.report().Promotion != nil })
	if p := b.report().Promotion; !p.Done || time.Since(began) > 5*time.Second {
		t.Errorf("promotion %+v after %s", p, time.Since(began))
	}
	t.Logf("promoted %s after the intent, with an archive that hangs", time.Since(began).Round(time.Millisecond))
}
