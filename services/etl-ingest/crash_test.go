package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kills is how often a run is killed; with OFITEC_DRILLS=1 as often as the issue asks for.
func kills() int64 {
	if os.Getenv("OFITEC_DRILLS") == "1" {
		return 200
	}
	return 20
}

// command is `etl-ingest --once` as a process of its own.
func (s *site) command(ctx context.Context) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], "--once")
	c.Env = []string{
		"OFITEC_TEST_RUN_AS_SERVICE=1", "PATH=" + os.Getenv("PATH"), "NATS_URL=" + s.natsURL, "OFITEC_ODOO_URL=" + s.erp.url, "OFITEC_WAREHOUSE=" + s.config.Warehouse,
		"OFITEC_EXPORT_PAGE_ROWS=7", "OFITEC_EXPORT_ATTEMPTS=1",
	}
	return c
}

func TestKillingItAtAnyPointLosesAndInventsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	s := newSite(t)
	for id := int64(1); id <= 300; id++ {
		s.erp.put("invoice", id, monday.Add(time.Duration(id)*time.Second), "first")
		s.erp.put("partner", id, monday.Add(time.Duration(id/50)*time.Second), "first")
	}
	begun := time.Now()
	if out, err := s.command(t.Context()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole := time.Since(begun)
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	finished, killed := int64(0), int64(0)
	for n := int64(0); killed < kills() && n < 3*kills(); n++ {
		// something of everything, so that each run has all to do
		id := 1 + n*11%300
		s.erp.put("invoice", id, monday.Add(time.Duration(1000+n)*time.Second), "changed")
		s.erp.put("invoice", 1000+n, monday.Add(-time.Duration(n)*24*time.Hour), "back from a backup")
		s.erp.remove("partner", 1+n*7%300)
		run, begun := s.command(t.Context()), time.Now()
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(whole))), func() { _ = run.Process.Kill() })
		err := run.Wait()
		timer.Stop()
		var exit *exec.ExitError
		if err == nil {
			finished++
			whole = (whole + time.Since(begun)) / 2 // a machine's load comes and goes
		} else if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("run %d: %v", n, err)
		} else {
			killed++
		}
	}
	t.Logf("killed %d times; %d runs were done before they were; a whole one takes %s", killed, finished, whole)
	if killed < kills()/2 {
		t.Errorf("only %d runs were killed", killed)
	}
	if out, err := s.command(t.Context()).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.mustMatch(t, "invoice")
	s.mustMatch(t, "partner")
	s.mustAnnounce(t)
	s.mustHaveNoStrangers(t)

	// An undisturbed run over the same source says the same.
	undisturbed := newSite(t)
	undisturbed.erp, undisturbed.config.Odoo.URL = s.erp, s.erp.url
	undisturbed.mustOnce(t)
	for _, dataset := range []string{"invoice", "partner"} {
		got := replay(t, openFolder(t, filepath.Join(s.config.Warehouse, "raw")), s.records(t), dataset)
		mustEqual(t, got, replay(t, openFolder(t, filepath.Join(undisturbed.config.Warehouse, "raw")), undisturbed.records(t), dataset))
	}
}

// mustHaveNoStrangers fails when there are more raw files without a record than crashes can have left: two datasets are read at a time, and each may have
// stored a file and not yet recorded it. Nobody reads those.
func (s *site) mustHaveNoStrangers(t *testing.T) {
	t.Helper()
	known := map[string]bool{}
	for _, r := range s.records(t) {
		known[r.Path] = true
	}
	root, strangers := filepath.Join(s.config.Warehouse, "raw"), 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root+"/")
		if err == nil && !d.IsDir() && !strings.HasPrefix(name, "_manifest") && !strings.HasPrefix(name, ".spool") && !known[name] {
			strangers++
		}
		return err
	})
	if err != nil || int64(strangers) > 2*kills() {
		t.Errorf("%d raw files are in no record, %v", strangers, err)
	}
}
