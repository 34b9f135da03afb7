package deploy

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func (d *database) allowed(t *testing.T, address, role, dbname, sql, want string) {
	t.Helper()
	if got, err := d.login(address, role, dbname, sql); err != nil || got != want {
		t.Errorf("%s in %s, %s: got %q, %v; want %q", role, dbname, sql, got, err, want)
	}
}

func (d *database) refused(t *testing.T, address, role, dbname, sql, reason string) {
	t.Helper()
	if got, err := d.login(address, role, dbname, sql); err == nil || !strings.Contains(got, reason) {
		t.Errorf("%s in %s, %s: got %q, %v; want a refusal with %q", role, dbname, sql, got, err, reason)
	}
}

func TestPostgreSQLLetsInWhomTheFilesNameAndNobodyElse(t *testing.T) {
	d := startDatabase(t)
	d.bootstrap(t)
	d.bootstrap(t) // a second start changes nothing
	straight, proxy := d.Listen, d.relay
	const who = "SELECT current_user"

	t.Run("fenced, observers and replication come in and nobody else", func(t *testing.T) {
		d.allowed(t, straight, "ofitec_probe", "ofitec_prod", "SELECT count(*) FROM ofitec.heartbeat", "0")
		d.allowed(t, straight, "ofitec_rewind", "postgres", "SELECT (pg_stat_file('PG_VERSION', true)).size > 0", "t")
		for _, role := range []string{"odoo_bootstrap", "vault_admin"} {
			d.refused(t, proxy, role, "ofitec_prod", who, "pg_hba.conf rejects")
			d.refused(t, straight, role, "ofitec_prod", who, "pg_hba.conf rejects")
		}
		d.refused(t, proxy, "analytics_publisher", "analytics", who, "pg_hba.conf rejects")
		d.refused(t, straight, "postgres", "postgres", who, "pg_hba.conf rejects")
	})
	d.reload(t, d.RenderHBAOpen)
	t.Run("open, the application comes in through the proxy only", func(t *testing.T) {
		d.allowed(t, proxy, "odoo_bootstrap", "ofitec_prod", who, "odoo_owner")
		d.refused(t, straight, "odoo_bootstrap", "ofitec_prod", who, "pg_hba.conf rejects")
		d.refused(t, proxy, "odoo_bootstrap", "analytics", who, "pg_hba.conf rejects")
		d.refused(t, proxy, "odoo_bootstrap", "ofitec_prod", "UPDATE ofitec.epoch SET epoch = 0", "permission denied")
		d.refused(t, proxy, "ofitec_probe", "ofitec_prod", who, "pg_hba.conf rejects")
		d.refused(t, straight, "ofitec_probe", "ofitec_prod", "DELETE FROM ofitec.heartbeat", "read-only")
	})
	t.Run("a wrong password is refused", func(t *testing.T) {
		right := d.passwords["odoo_bootstrap"]
		d.passwords["odoo_bootstrap"] = "wrong"
		d.refused(t, proxy, "odoo_bootstrap", "ofitec_prod", who, "password authentication failed")
		d.passwords["odoo_bootstrap"] = right
	})
	t.Run("the analytics reader reads what the publisher makes, also in new schemas, and writes nothing", func(t *testing.T) {
		d.allowed(t, proxy, "analytics_publisher", "analytics", "CREATE SCHEMA marts; CREATE TABLE marts.kpi AS SELECT 7 AS n; SELECT current_user", "analytics_owner")
		d.allowed(t, proxy, "analytics_reader", "analytics", "SELECT n FROM marts.kpi", "7")
		d.refused(t, proxy, "analytics_reader", "analytics", "SET transaction_read_only = off; DELETE FROM marts.kpi", "permission denied")
	})
	t.Run("the restrictions of the fence are in force", func(t *testing.T) {
		for setting, want := range map[string]string{
			"client_connection_check_interval": "250ms", "max_prepared_transactions": "0", "wal_log_hints": "on", "data_checksums": "on",
			"wal_sender_timeout": "5s", "wal_receiver_timeout": "5s", "authentication_timeout": "1s", "log_min_error_statement": "panic",
		} {
			if got := d.super(t, "postgres", "SHOW "+setting); got != want {
				t.Errorf("%s is %q, want %q", setting, got, want)
			}
		}
	})
	t.Run("a password that failed to be set stands in no log", func(t *testing.T) {
		d.refused(t, proxy, "vault_admin", "ofitec_prod", `CREATE ROLE "ofitec_probe" LOGIN PASSWORD 'seeded-secret'`, "already exists")
		log, err := os.ReadFile(d.logFile)
		if err != nil || strings.Contains(string(log), "seeded-secret") || !strings.Contains(string(log), "already exists") {
			t.Errorf("the log: %v\n%s", err, log)
		}
	})
}

func TestAUserOfAnHourOwnsNothingAndLeavesNothing(t *testing.T) {
	d := startDatabase(t)
	d.bootstrap(t)
	d.reload(t, d.RenderHBAOpen)
	role, err := VaultOdooRole()
	if err != nil {
		t.Fatal(err)
	}
	const name = "v-approle-odoo-app-x1"
	d.passwords[name] = "of an hour"
	fill := strings.NewReplacer("{{name}}", name, "{{password}}", d.passwords[name], "{{expiration}}", time.Now().Add(time.Hour).Format("2006-01-02 15:04:05-0700"))
	vault := func(sql string) {
		t.Helper()
		d.allowed(t, d.relay, "vault_admin", "ofitec_prod", fill.Replace(sql), "")
	}

	vault(role.Creation)
	d.allowed(t, d.relay, name, "ofitec_prod", "CREATE TABLE made(n int); SELECT tableowner FROM pg_tables WHERE tablename = 'made'", "odoo_owner")
	d.allowed(t, d.relay, name, "ofitec_prod", "SELECT session_user", name)
	vault(role.Renew)
	// Something that the user owns itself, against the rules, must not stop the revocation.
	d.super(t, "ofitec_prod", `CREATE TABLE orphan(n int); ALTER TABLE orphan OWNER TO "`+name+`"`)
	vault(role.Revocation)
	vault(role.Revocation)
	if left := d.super(t, "ofitec_prod", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'"); left != "0" {
		t.Errorf("%s users are left", left)
	}
	if owner := d.super(t, "ofitec_prod", "SELECT tableowner FROM pg_tables WHERE tablename = 'orphan'"); owner != "odoo_owner" {
		t.Errorf("the orphan belongs to %q, want odoo_owner", owner)
	}
	d.refused(t, d.relay, name, "ofitec_prod", "SELECT 1", "")
}

func TestTheExporterServesTheNamedSeries(t *testing.T) {
	exporter := program(t, "prometheus-postgres-exporter")
	d := startDatabase(t)
	d.bootstrap(t)
	d.super(t, "ofitec_prod", "INSERT INTO ofitec.heartbeat (number, at, epoch, region) VALUES (42, to_timestamp(1700000000.5), 1, 'a')")
	queries, err := PostgresExporterQueries()
	password := []byte(d.passwords["ofitec_exporter"])
	e := PostgresExporter{
		Listen: freeAddress(t), Postgres: d.Listen, CAFile: d.TLS.CA,
		QueriesFile:  write(t, d.dir, "queries.yaml", queries, err),
		PasswordFile: write(t, d.dir, "postgres-password", password, nil),
	}
	args, err := e.Args()
	if err != nil {
		t.Fatal(err)
	}
	env, err := e.Env()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exporter, args...)
	cmd.Env = append([]string{"HOME=" + filepath.Dir(e.QueriesFile)}, env...)
	start(t, cmd)
	var body string
	within(t, 10*time.Second, "the exporter has reached the database", func() bool {
		response, err := http.Get("http://" + e.Listen + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		content, _ := io.ReadAll(response.Body)
		body = string(content)
		return strings.Contains(body, "pg_up 1")
	})
	for _, want := range []string{"ofitec_heartbeat_timestamp_seconds{", "1.7000000005e+09", "ofitec_heartbeat_number{", "pg_is_in_recovery{", "pg_stat_database_xact_commit"} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "ofitec_") || strings.HasPrefix(line, "pg_is_in") || strings.Contains(line, "exporter_last_scrape_error") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

func TestAStandbyFollowsItsUpstreamByTheSameFiles(t *testing.T) {
	a := startDatabase(t)
	a.bootstrap(t)
	b := configureDatabase(t, a.ca, "region_b", a.Listen)
	line, err := PassFileLine(a.Listen, "replication", "ofitec_replication", a.passwords["ofitec_replication"])
	b.PassFile = b.ConfDir + "/passfile"
	b.file(t, "passfile", func() ([]byte, error) { return []byte(line), err })
	b.file(t, "postgresql.conf", b.RenderConf)
	host, port, _ := net.SplitHostPort(a.Listen)
	b.as(t, "pg_basebackup", "-D", b.DataDir, "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", b.Name,
		"-d", "host="+host+" port="+port+" user=ofitec_replication passfile="+b.PassFile+" sslmode=verify-full sslrootcert="+b.TLS.CA)
	b.as(t, "touch", b.DataDir+"/standby.signal")
	b.start(t)

	within(t, 20*time.Second, "b streams into its slot under its name", func() bool {
		return a.super(t, "postgres", "SELECT s.application_name || ' ' || r.slot_name FROM pg_stat_replication s JOIN pg_replication_slots r ON r.active_pid = s.pid WHERE s.state = 'streaming'") == "region_b region_b"
	})
	a.super(t, "ofitec_prod", "INSERT INTO ofitec.heartbeat (number, at, epoch, region) VALUES (7, now(), 1, 'a')")
	b.passwords = a.passwords
	within(t, 10*time.Second, "the heartbeat has arrived", func() bool {
		got, err := b.login(b.Listen, "ofitec_probe", "ofitec_prod", "SELECT number FROM ofitec.heartbeat WHERE pg_is_in_recovery()")
		return err == nil && got == "7"
	})
	b.reload(t, b.RenderHBAOpen)
	b.refused(t, b.relay, "odoo_bootstrap", "ofitec_prod", "CREATE TABLE no(n int)", "read-only transaction")
}
