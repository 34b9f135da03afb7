package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
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

// envLine is a value of a colour's environment file.
func (s *stack) envLine(r layout.Region, colour, key string) (string, error) {
	file, err := os.Open(s.layout.OdooEnvFile(r, colour))
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), key+"="); ok {
			return strings.Trim(value, `"'`), nil
		}
	}
	return "", errors.New("no " + key)
}

// credentialsAreReplacedUnderLoad rotates while users work and region c is lost, with its node of Vault, and looks at the database afterwards: a new user, both
// colours on it, the old one gone.
func (s *stack) credentialsAreReplacedUnderLoad(t *testing.T) {
	active := s.active(t)
	var before []string
	s.eventually("the first user of Vault is the only one", 3*time.Minute, func() error {
		var err error
		if before, err = s.vaultUsers(active); err != nil || len(before) != 1 {
			return fmt.Errorf("users %v, %w", before, err)
		}
		return s.bothColoursOn(active, before[0])
	})
	if out, code := s.runWithin(2*time.Minute, "drill", "region-loss", "c", "--yes"); code != exitDone {
		t.Errorf("drill region-loss c exits %d: %s", code, out)
	}
	hot := s.hotColour(t, active)
	users := s.startLoad("rotation")
	out, code := s.runWithin(5*time.Minute, "credentials", "rotate", "odoo-app", "--reason", "the stack's test", "--wait")
	if code != exitDone {
		t.Errorf("credentials rotate exits %d: %s", code, out)
	}
	s.eventually("a new user, and the old one gone", 2*time.Minute, func() error {
		after, err := s.vaultUsers(active)
		if err != nil || len(after) != 1 || after[0] == before[0] {
			return fmt.Errorf("users %v, %w; before the rotation %v", after, err, before)
		}
		return s.bothColoursOn(active, after[0])
	})
	users.stop(t)
	if now := s.hotColour(t, active); now == hot {
		t.Errorf("the traffic is on %s as before: the new credential was not switched to", now)
	}
	if out, code := s.run("credentials", "list"); code != exitDone || !strings.Contains(out, "odoo-app") {
		t.Errorf("credentials list exits %d: %s", code, out)
	}
	if out, code := s.run("doctor"); code == exitDone || !strings.Contains(out, "Vault has 2 of 3 nodes") {
		t.Errorf("doctor exits %d and does not miss Vault's node: %s", code, out)
	}
	if out, code := s.runWithin(4*time.Minute, "drill", "restore", "c"); code != exitDone {
		t.Fatalf("drill restore c exits %d: %s", code, out)
	}
}

// hotColour is the colour that has a region's traffic.
func (s *stack) hotColour(t *testing.T, r layout.Region) string {
	t.Helper()
	content, err := os.ReadFile(s.layout.ActiveColourFile(r))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

func (s *stack) bothColoursOn(r layout.Region, user string) error {
	for _, colour := range []string{"blue", "green"} {
		if on, err := s.envLine(r, colour, "POSTGRES_USER"); err != nil || on != user {
			return fmt.Errorf("%s in region %s is on %q, %w; want %s", colour, r, on, err, user)
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
	s.whileNobodyInvoices(t, func(ctx context.Context, active layout.Region, want sales) {
		s.etlRun(t)
		s.publishedEquals(ctx, t, active, want)
		again := s.etlRun(t)
		if invoices := again.Datasets["invoice"]; invoices != nil && invoices.Rows > 0 {
			t.Errorf("the second run read %d invoices; none had changed", invoices.Rows)
		}
		var read int64
		for _, dataset := range again.Datasets {
			read += dataset.Rows
		}
		if read > want.rows { // the stand-in changes a few rows a second; all of it are seventeen thousand
			t.Errorf("the second run read %d rows: more than what changed", read)
		}
		s.publishedEquals(ctx, t, active, want)
	})
	if out, code := s.run("etl", "status"); code != exitDone || !strings.Contains(out, "invoice") {
		t.Errorf("etl status exits %d: %s", code, out)
	}
	s.rawFilesAreEncrypted(t)
}

// rawFilesAreEncrypted looks at the object store's own disk: what anybody finds there is of no use without the key.
func (s *stack) rawFilesAreEncrypted(t *testing.T) {
	t.Helper()
	sealed, plain := 0, []string{}
	err := filepath.WalkDir(filepath.Join(s.layout.OutsideDir("minio"), "data", "ofitec-raw"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist):
			return nil // files come and go
		case err != nil:
			return err
		case strings.HasSuffix(entry.Name(), ".zst.age"):
			sealed++
		case strings.HasSuffix(entry.Name(), ".zst"):
			plain = append(plain, path)
		}
		return nil
	})
	if err != nil || sealed == 0 || len(plain) > 0 {
		t.Errorf("%d raw files are encrypted, %d are not (%.3q), %v", sealed, len(plain), plain, err)
	}
}

// whileNobodyInvoices holds the invoices of the active region still and gives the source's sales. Readers go on; whoever wants to change an invoice waits.
func (s *stack) whileNobodyInvoices(t *testing.T, look func(ctx context.Context, active layout.Region, want sales)) {
	t.Helper()
	active := s.active(t)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
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
	defer func() { _ = quiet.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := quiet.Exec(ctx, "LOCK TABLE invoice IN SHARE MODE"); err != nil { // the stand-in's long transactions end first
		t.Fatal(err)
	}
	want, err := salesOf(ctx, source, salesAtTheSource)
	if err != nil {
		t.Fatal(err)
	}
	look(ctx, active, want)
}

// etlRun is `ofitec etl run`, which must succeed, and what it read.
func (s *stack) etlRun(t *testing.T) etlResult {
	t.Helper()
	command := exec.Command(s.program, "etl", "run", "--within", "4m", "-o", "json", "--data", s.data)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("etl run: %v: %s", err, out)
	}
	var result etlResult
	if err := json.Unmarshal(out, &result); err != nil {
		t.Fatalf("etl run -o json: %v: %s", err, out)
	}
	t.Logf("%s", out)
	return result
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
			return fmt.Errorf("%+v, %w; the source has %+v", got, err, want)
		}
		var works int64 // they stand on nearly all datasets: none is held back
		if err := reader.QueryRow(ctx, "SELECT count(*) FROM mart_fact_wip JOIN mart_kpi_project USING (hk_project) WHERE earned_margin IS NOT NULL").Scan(&works); err != nil || works == 0 {
			return fmt.Errorf("%d rows of work in progress, %w", works, err)
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
	s.invoice(t, other) // readers in the other region have what was replicated; this one only its own ETL can bring
	s.whileNobodyInvoices(t, func(ctx context.Context, active layout.Region, want sales) {
		s.etlRun(t)
		s.publishedEquals(ctx, t, active, want)
	})
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

// invoice posts one document in a region's database.
func (s *stack) invoice(t *testing.T, r layout.Region) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := s.superuser(ctx, r, "ofitec_prod")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `INSERT INTO invoice (partner_id, move_type, date, amount_total, amount_tax, currency, state, write_date)
SELECT min(partner_id), 'out_invoice', current_date, 119000, 19000, 'CLP', 'posted', now() FROM partner`); err != nil {
		t.Fatalf("post an invoice in region %s: %v", r, err)
	}
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
	if got, err := lookup(context.Background(), server); err != nil || got != s.layout.Addressing.Region[r] {
		t.Errorf("%s is %s, %v; want %s", layout.Name, got, err, s.layout.Addressing.Region[r])
	}
}

// aRestartKeepsAll stops the stack and starts it again: who may write, the name, the users, what was written, what readers see.
func (s *stack) aRestartKeepsAll(t *testing.T) {
	before, active := s.status(), s.active(t)
	users, err := s.vaultUsers(active)
	if err != nil {
		t.Fatal(err)
	}
	ledger := s.ledger(t, active, "after-return")
	s.stop()
	s.start(5 * time.Minute)
	if after := s.status(); s.active(t) != active || after.Epoch != before.Epoch {
		t.Errorf("after a restart: active %s, epoch %d; want %s, %d", s.active(t), after.Epoch, active, before.Epoch)
	}
	s.dnsAnswers(t, active)
	if now, err := s.vaultUsers(active); err != nil || !slices.ContainsFunc(users, func(user string) bool { return slices.Contains(now, user) }) {
		t.Errorf("users %v, %v after a restart; before %v", now, err, users)
	}
	if now := s.ledger(t, active, "after-return"); now != ledger {
		t.Errorf("the ledger has %s after a restart, before it %s", now, ledger)
	}
	s.eventually("writes go through", 15*time.Second, func() error { return s.write(active, "after-all", 1) })
	s.whileNobodyInvoices(t, func(ctx context.Context, active layout.Region, want sales) {
		s.etlRun(t)
		s.publishedEquals(ctx, t, active, want)
	})
}

// ledger is what a writer's entries are.
func (s *stack) ledger(t *testing.T, r layout.Region, writer string) string {
	t.Helper()
	code, body, err := get(s.url(r, layout.PortWebProxy, "/of/ledger?writer="+writer))
	if err != nil || code != http.StatusOK || !strings.Contains(body, writer) {
		t.Fatalf("ledger of %s: %d %s %v", writer, code, body, err)
	}
	return body
}
