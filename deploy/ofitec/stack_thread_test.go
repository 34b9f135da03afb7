package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// superuser opens a region's own database as the operator of the machine does: over its Unix socket.
func (s *stack) superuser(ctx context.Context, r layout.Region, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", s.layout.PostgresSocketDir(r), layout.PortPostgres, database))
}

// vaultUsers lists the users that Vault made for the application, as a region's database knows them.
func (s *stack) vaultUsers(r layout.Region) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := s.superuser(ctx, r, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
WHERE r.rolname = 'odoo_owner' AND m.rolname NOT IN ('vault_admin', 'odoo_bootstrap') ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// envUser is the database user in a colour's environment file.
func (s *stack) envUser(r layout.Region, colour string) (string, error) {
	file, err := os.Open(s.layout.OdooEnvFile(r, colour))
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "POSTGRES_USER="); ok {
			return strings.Trim(value, `"'`), nil
		}
	}
	return "", errors.New("no POSTGRES_USER")
}

// credentialsAreReplacedUnderLoad rotates while users work, and looks at the database afterwards: a new user, both colours on it, the old one gone.
func (s *stack) credentialsAreReplacedUnderLoad(t *testing.T) {
	active := s.active(t)
	var before []string
	s.eventually("the first user of Vault is the only one", 3*time.Minute, func() error {
		var err error
		if before, err = s.vaultUsers(active); err != nil || len(before) != 1 {
			return fmt.Errorf("users %v, %v", before, err)
		}
		return s.bothColoursOn(active, before[0])
	})
	users := s.startLoad("rotation")
	out, code := s.runWithin(5*time.Minute, "credentials", "rotate", "odoo-app", "--reason", "the stack's test", "--wait")
	if code != exitDone {
		t.Errorf("credentials rotate exits %d: %s", code, out)
	}
	s.eventually("a new user, and the old one gone", 2*time.Minute, func() error {
		after, err := s.vaultUsers(active)
		if err != nil || len(after) != 1 || after[0] == before[0] {
			return fmt.Errorf("users %v, %v; before the rotation %v", after, err, before)
		}
		return s.bothColoursOn(active, after[0])
	})
	users.stop(t)
	if out, code := s.run("credentials", "list"); code != exitDone || !strings.Contains(out, "odoo-app") {
		t.Errorf("credentials list exits %d: %s", code, out)
	}
}

func (s *stack) bothColoursOn(r layout.Region, user string) error {
	for _, colour := range []string{"blue", "green"} {
		if on, err := s.envUser(r, colour); err != nil || on != user {
			return fmt.Errorf("%s in region %s is on %q, %v; want %s", colour, r, on, err, user)
		}
	}
	return nil
}

// active is the region that may write.
func (s *stack) active(t *testing.T) layout.Region {
	t.Helper()
	now := s.status()
	if now.Active == nil {
		t.Fatal("nobody may write")
	}
	return layout.Region(*now.Active)
}

// salesAtTheSource is mart_fact_sales by an independent road: the source's own tables.
const (
	salesAtTheSource = `SELECT count(*), coalesce(sum(amount_total), 0)::numeric(20,2)::text, coalesce(sum(CASE move_type WHEN 'out_refund' THEN -1 ELSE 1 END * (amount_total - coalesce(amount_tax, 0))), 0)::numeric(20,2)::text
FROM invoice WHERE state = 'posted' AND move_type IN ('out_invoice', 'out_refund', 'out_receipt')`
	salesPublished = `SELECT count(*), coalesce(sum(amount_total), 0)::numeric(20,2)::text, coalesce(sum(sign * amount_untaxed), 0)::numeric(20,2)::text FROM mart_fact_sales`
)

type sales struct {
	rows           int64
	total, untaxed string
}

func salesOf(ctx context.Context, conn *pgx.Conn, query string) (sales, error) {
	var found sales
	return found, conn.QueryRow(ctx, query).Scan(&found.rows, &found.total, &found.untaxed)
}

// theWarehouseAgreesWithTheSource runs the ETL twice while nobody changes an invoice, and compares what readers see with the source.
func (s *stack) theWarehouseAgreesWithTheSource(t *testing.T) {
	active := s.active(t)
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	source, err := s.superuser(ctx, active, "ofitec_prod")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close(context.WithoutCancel(ctx)) }()
	quiet, err := source.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// Readers go on; whoever wants to change an invoice waits. The stand-in's long transactions end first.
	if _, err := quiet.Exec(ctx, "LOCK TABLE invoice IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = quiet.Rollback(context.WithoutCancel(ctx)) }()
	want, err := salesOf(ctx, source, salesAtTheSource)
	if err != nil {
		t.Fatal(err)
	}
	first, code := s.runWithin(4*time.Minute, "etl", "run", "--wait")
	if code != exitDone {
		t.Fatalf("etl run exits %d: %s", code, first)
	}
	s.publishedEquals(ctx, t, active, want)
	second, code := s.runWithin(4*time.Minute, "etl", "run", "--wait")
	if code != exitDone {
		t.Fatalf("the second etl run exits %d: %s", code, second)
	}
	t.Logf("first run:\n%s\nsecond run:\n%s", first, second)
	s.publishedEquals(ctx, t, active, want)
	if out, code := s.run("etl", "status"); code != exitDone || !strings.Contains(out, "invoice") {
		t.Errorf("etl status exits %d: %s", code, out)
	}
}

func (s *stack) publishedEquals(ctx context.Context, t *testing.T, r layout.Region, want sales) {
	t.Helper()
	dsn, err := os.ReadFile(filepath.Join(s.layout.RegionDir(r), "analytics.dsn"))
	if err != nil {
		t.Fatal(err)
	}
	s.eventually("readers of analytics see the source's sales", time.Minute, func() error {
		reader, err := pgx.Connect(ctx, strings.TrimSpace(string(dsn)))
		if err != nil {
			return err
		}
		defer func() { _ = reader.Close(ctx) }()
		got, err := salesOf(ctx, reader, salesPublished)
		if err != nil || got != want {
			return fmt.Errorf("%+v, %v; the source has %+v", got, err, want)
		}
		if _, err := reader.Exec(ctx, "DELETE FROM mart_fact_sales"); err == nil {
			t.Error("the reader may delete from mart_fact_sales")
		}
		return nil
	})
	if want.rows == 0 {
		t.Error("the source has no sales: nothing was compared")
	}
}

// aRegionDiesAndTheBusinessGoesOn loses the active region with its disks, works in the other one, and brings it back as the standby.
func (s *stack) aRegionDiesAndTheBusinessGoesOn(t *testing.T) {
	epoch, lost := s.status().Epoch, s.active(t)
	other := lost.Peer()
	out, code := s.runWithin(4*time.Minute, "drill", "region-loss", string(lost), "--destroy", "--yes")
	t.Log(out)
	if code != exitDone {
		t.Errorf("drill region-loss %s exits %d", lost, code)
	}
	now := s.status()
	if s.active(t) != other || now.Epoch != epoch+1 || now.Regions[string(lost)].Role != "down" || now.Regions[string(other)].Role != "primary" {
		t.Errorf("after the loss of %s: active %s, epoch %d after %d, %s is %s, %s is %s",
			lost, s.active(t), now.Epoch, epoch, lost, now.Regions[string(lost)].Role, other, now.Regions[string(other)].Role)
	}
	s.dnsAnswers(t, other)
	s.eventually("writes go through in the other region", 15*time.Second, func() error { return s.write(other, "after-loss", 1) })
	if out, code := s.runWithin(4*time.Minute, "etl", "run", "--wait"); code != exitDone {
		t.Errorf("the ETL does not go on in %s: exit %d: %s", other, code, out)
	}
	out, code = s.runWithin(8*time.Minute, "drill", "restore", string(lost))
	t.Log(out)
	if code != exitDone {
		t.Fatalf("drill restore %s exits %d", lost, code)
	}
	s.eventually("all is ready, and the lost region is the other one's standby", 2*time.Minute, func() error {
		if out, code := s.run("status"); code != exitDone {
			return fmt.Errorf("%s", out)
		}
		if now := s.status(); now.Regions[string(other)].Role != "primary" || now.Regions[string(lost)].Role != "standby" {
			return fmt.Errorf("%s is %s, %s is %s", other, now.Regions[string(other)].Role, lost, now.Regions[string(lost)].Role)
		}
		return nil
	})
}

// theReturnIsPlanned gives the writes back on purpose: nothing acknowledged is lost.
func (s *stack) theReturnIsPlanned(t *testing.T) {
	to := s.active(t).Peer()
	writer := s.startWriter("switchover")
	s.eventually("the writer works", 10*time.Second, func() error {
		writer.mu.Lock()
		defer writer.mu.Unlock()
		if len(writer.acked) < 20 {
			return fmt.Errorf("%d writes", len(writer.acked))
		}
		return nil
	})
	out, code := s.runWithin(2*time.Minute, "failover", "switchover", "--to", string(to), "--reason", "the stack's test")
	t.Log(out)
	if code != exitDone {
		t.Errorf("failover switchover exits %d", code)
	}
	s.eventually("writes go through", 30*time.Second, func() error { return s.write(to, "after-return", 1) })
	writer.stop()
	t.Logf("longest time without an acknowledged write: %s", writer.lap())
	if lost := s.missing(t, writer); len(lost) > 0 {
		t.Errorf("%d of %d acknowledged writes are lost: %v", len(lost), len(writer.acked), lost[:min(10, len(lost))])
	}
	if s.active(t) != to {
		t.Errorf("region %s is active, want %s", s.active(t), to)
	}
	s.dnsAnswers(t, to)
}

func (s *stack) dnsAnswers(t *testing.T, r layout.Region) {
	t.Helper()
	server := fmt.Sprintf("%s:%d", s.layout.Addressing.Outside, layout.PortDNS)
	if got, err := lookup(context.Background(), server, layout.Name); err != nil || got != s.layout.Addressing.Region[r] {
		t.Errorf("%s is %s, %v; want %s", layout.Name, got, err, s.layout.Addressing.Region[r])
	}
}

// aRestartKeepsAll stops the stack and starts it again: who may write, the users, what readers see.
func (s *stack) aRestartKeepsAll(t *testing.T) {
	before := s.status()
	active := s.active(t)
	users, err := s.vaultUsers(active)
	if err != nil {
		t.Fatal(err)
	}
	s.stop()
	s.start(5 * time.Minute)
	after := s.status()
	if after.Active == nil || layout.Region(*after.Active) != active || after.Epoch != before.Epoch {
		t.Errorf("after a restart: active %v, epoch %d; want %s, %d", after.Active, after.Epoch, active, before.Epoch)
	}
	if now, err := s.vaultUsers(active); err != nil || !slices.ContainsFunc(users, func(user string) bool { return slices.Contains(now, user) }) {
		t.Errorf("users %v, %v after a restart; before %v", now, err, users)
	}
	s.eventually("writes go through", 15*time.Second, func() error { return s.write(active, "after-all", 1) })
}
