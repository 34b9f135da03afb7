package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// becomeStandby restarts the database in recovery.
func (d *database) becomeStandby(t *testing.T) {
	t.Helper()
	d.Run(t, "pg_ctl", "-w", "-D", d.DataDir, "-m", "fast", "stop")
	signal := filepath.Join(d.DataDir, "standby.signal")
	must(t, os.WriteFile(signal, nil, 0o600))
	if d.Account != nil {
		must(t, os.Chown(signal, int(d.Account.Uid), int(d.Account.Gid)))
	}
	d.Start(t)
}

func TestAStandbyServesReadersOnlyAndAStrayPrimaryNobody(t *testing.T) {
	r := startRegion(t)
	r.database.becomeStandby(t)
	r.arbiter(t, "arbiter", r.address, "OFITEC_REGION=b")
	await(t, 5*time.Second, "/standby says yes", func() bool { status, _ := says(r.address, "/standby"); return status == 200 })
	readable := func() bool {
		conn, err := r.database.login(context.Background(), r.proxy.ReadBind)
		if err != nil {
			return false
		}
		defer conn.Close(context.Background())
		var standby bool
		return conn.QueryRow(context.Background(), "SELECT pg_is_in_recovery()").Scan(&standby) == nil && standby
	}
	await(t, 3*time.Second, "readers can log in", readable)
	if r.open() {
		t.Error("writers can log in")
	}
	if status, body := says(r.address, "/mandate"); status != 503 || body.Reason != "nobody has ever held the mandate" {
		t.Errorf("/mandate answers %d %+v", status, body)
	}

	conn, err := r.database.login(context.Background(), r.proxy.ReadBind)
	must(t, err)
	r.database.Run(t, "pg_ctl", "-w", "-D", r.database.DataDir, "promote")
	await(t, 3*time.Second, "readers are out", func() bool { return !readable() })
	await(t, 3*time.Second, "their sessions have ended", func() bool {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		return err != nil
	})
	await(t, 5*time.Second, "the fenced rules are in force", func() bool { return inForce(t, r.database, r.database.RenderHBAFenced) })
}

// inForce compares pg_hba.conf with what deploy renders.
func inForce(t *testing.T, d *database, render func() ([]byte, error)) bool {
	t.Helper()
	want, err := render()
	must(t, err)
	got, err := os.ReadFile(filepath.Join(d.ConfDir, "pg_hba.conf"))
	must(t, err)
	return string(got) == string(want)
}

func TestADatabaseThatRestartsBehindFencedRulesIsOpenedAgain(t *testing.T) {
	r := startRegion(t)
	r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "applications can log in", r.open)
	r.database.Run(t, "pg_ctl", "-w", "-D", r.database.DataDir, "-m", "immediate", "stop")
	content, err := r.database.RenderHBAFenced()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(r.database.ConfDir, "pg_hba.conf"), content, 0o600)) // as a supervisor does at each boot
	r.database.Start(t)
	t.Logf("open %s after the restart", await(t, 3*time.Second, "applications can log in", r.open))
	if status, _ := says(r.address, "/mandate"); status != 200 {
		t.Errorf("/mandate answers %d: a restart of the database is no loss of the mandate", status)
	}
}

func TestTheFenceKeepsObserversAndEndsTheRest(t *testing.T) {
	r := startRegion(t)
	arbiter := r.arbiter(t, "arbiter", r.address)
	await(t, 10*time.Second, "applications can log in", r.open)
	probe, err := r.database.loginAs(context.Background(), r.database.Listen, "ofitec_probe")
	must(t, err)
	defer probe.Close(context.Background())
	must(t, arbiter.Process.Signal(os.Interrupt))
	if err := arbiter.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := probe.Exec(context.Background(), "SELECT number FROM ofitec.heartbeat"); err != nil {
		t.Errorf("the probe was cut: %v", err)
	}
	if conn, err := r.database.login(context.Background(), r.proxy.Bind); err == nil {
		conn.Close(context.Background())
		t.Error("an application got in")
	}
}
