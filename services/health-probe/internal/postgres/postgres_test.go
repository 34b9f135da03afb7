package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

func server(t *testing.T, d *postgrestest.Database, secret string) *Server {
	t.Helper()
	authority, err := os.ReadFile(d.TLS.CA)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	s := New(Settings{
		Addr: d.Listen, User: "ofitec_probe", Database: "ofitec_prod", PasswordFile: file, TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, LoginEvery: time.Minute, Region: "c",
	})
	t.Cleanup(s.Close)
	return s
}

func look(t *testing.T, s *Server, want events.Outcome, says string) observation.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got := s.Look(ctx)
	if got.Outcome != want || !strings.Contains(got.Reason, says) {
		t.Fatalf("got %s %q, want %s %q", got.Outcome, got.Reason, want, says)
	}
	return got
}

func TestAProbeSeesAFencedPrimaryAndAStandbyAndTheirAbsence(t *testing.T) {
	d := postgrestest.Start(t, false) // fenced
	s := server(t, d, postgrestest.Password)

	seen := look(t, s, events.OutcomeOK, "").Database
	if seen.ClockOffset.Abs() > time.Second { // the same machine's
		t.Errorf("its clock is %s ahead", seen.ClockOffset)
	}
	if seen.InRecovery || *seen.Streaming || seen.Timeline != 1 || seen.FlushLSN == nil || *seen.FlushLSN == 0 || seen.ReceivedLSN != nil || seen.HeartbeatNumber != nil {
		t.Errorf("a primary without heartbeat is %+v", seen)
	}
	d.Super(t, "ofitec_prod", "INSERT INTO ofitec.heartbeat (number, at, epoch, region) VALUES (7, '2026-01-02 03:04:05.678+00', 1, 'a')")
	seen = look(t, s, events.OutcomeOK, "").Database
	if seen.HeartbeatNumber == nil || *seen.HeartbeatNumber != 7 || seen.HeartbeatAt.Format(time.RFC3339Nano) != "2026-01-02T03:04:05.678Z" {
		t.Errorf("the heartbeat is %v at %v", seen.HeartbeatNumber, seen.HeartbeatAt)
	}

	// A wrong password is the observer's trouble, and so is a certificate that it does not trust.
	look(t, server(t, d, "wrong"), events.OutcomeUnknown, "28P01")
	stranger := server(t, d, postgrestest.Password)
	stranger.settings.TLS.RootCAs = x509.NewCertPool()
	look(t, stranger, events.OutcomeUnknown, "certificate")

	// A restart between two looks is no absence; a stopped database is one.
	d.Run(t, "pg_ctl", "-w", "-D", d.DataDir, "-m", "fast", "stop")
	look(t, s, events.OutcomeFailed, "refused")
	look(t, server(t, d, "wrong"), events.OutcomeFailed, "refused")
	d.Write(t, filepath.Join(d.DataDir, "standby.signal"), nil)
	d.Start(t)
	seen = look(t, s, events.OutcomeOK, "").Database
	if !seen.InRecovery || *seen.Streaming || seen.Timeline != 1 || seen.FlushLSN != nil || seen.ReceivedLSN == nil || seen.ReplayedLSN == nil || *seen.HeartbeatNumber != 7 {
		t.Errorf("a standby is %+v", seen)
	}
	d.Run(t, "pg_ctl", "-w", "-D", d.DataDir, "-m", "fast", "stop")
	d.Start(t)
	look(t, s, events.OutcomeOK, "")
}

func TestAClockIsHeldAgainstTheMiddleOfTheQuestion(t *testing.T) {
	asked := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	answered := asked.Add(200 * time.Millisecond)
	for said, want := range map[time.Time]time.Duration{
		asked.Add(100 * time.Millisecond): 0, asked.Add(time.Hour): time.Hour - 100*time.Millisecond, asked.Add(-time.Minute): -time.Minute - 100*time.Millisecond,
	} {
		if got := ahead(said, asked, answered); got != want {
			t.Errorf("a clock that says %s is ahead by %s, want %s", said.Format(time.StampMilli), got, want)
		}
	}
}

func TestADatabaseThatTakesConnectionsAndSaysNothingHasFailed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = listener.Close() }()
	s := New(Settings{Addr: listener.Addr().String(), User: "u", Database: "d", PasswordFile: "/nonexistent", LoginEvery: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got := s.Look(ctx); got.Outcome != events.OutcomeFailed || got.Reason != "no answer in time" {
		t.Errorf("got %+v", got)
	}
}

func TestADatabaseWhoseNameIsNotResolvedIsUnknown(t *testing.T) {
	s := New(Settings{Addr: "region-a.invalid:5433", User: "u", Database: "d", PasswordFile: "/nonexistent", LoginEvery: time.Minute})
	for _, within := range []time.Duration{time.Nanosecond, 10 * time.Second} { // a resolver that is silent, and one that answers or is not there
		ctx, cancel := context.WithTimeout(t.Context(), within)
		got := s.Look(ctx)
		cancel()
		if got.Outcome != events.OutcomeUnknown {
			t.Errorf("within %s: got %s %q", within, got.Outcome, got.Reason)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
