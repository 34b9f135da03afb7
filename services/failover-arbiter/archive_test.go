package main

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy"
)

// store is a real MinIO over TLS with the archive's bucket, and the configuration by which a database archives there.
type store struct {
	program, dir, address string
	running               *exec.Cmd
	d                     *database
	file                  string
}

// newStore finds what the archive needs; the server is not started yet.
func newStore(t *testing.T, d *database) *store {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
	if _, err := os.Stat(deploy.PgBackRest); err != nil {
		t.Skip("pgBackRest is not installed: the archive is tested where it is")
	}
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "minio-*", "minio")) // the pattern is well formed
	if len(built) == 0 {
		t.Skip("MinIO is not built yet (ofitec setup builds it)")
	}
	s := &store{program: built[0], dir: shortDir(t), address: freeAddr(t), d: d, file: d.ConfDir + "/pgbackrest.conf"}
	must(t, os.MkdirAll(s.dir+"/data/"+deploy.MinIOArchive, 0o755)) // a folder of MinIO's is a bucket
	must(t, os.MkdirAll(s.dir+"/certs", 0o755))
	for from, to := range map[string]string{d.TLS.Cert: "public.crt", d.TLS.Key: "private.key"} {
		content, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(s.dir+"/certs/"+to, content, 0o600))
	}
	s.configure(t, d)
	return s
}

// configure writes pgBackRest's configuration for a database.
func (s *store) configure(t *testing.T, d *database) {
	t.Helper()
	port, err := strconv.Atoi(d.Port)
	must(t, err)
	content, err := deploy.Archive{
		Endpoint: s.address, Bucket: deploy.MinIOArchive, CAFile: d.TLS.CA, Key: "archive-user", Secret: "not-a-secret-but-long", Passphrase: "nor-is-this",
		DataDir: d.DataDir, SocketDir: d.SocketDir, Port: port, LockDir: d.Dir + "/pgbackrest", QueueMax: "64MB",
	}.Render()
	must(t, err)
	d.Write(t, d.ConfDir+"/pgbackrest.conf", content)
}

func (s *store) start(t *testing.T) {
	t.Helper()
	s.running = exec.Command(s.program, "server", "--quiet", "--address", s.address, "--certs-dir", s.dir+"/certs", s.dir+"/data")
	s.running.Env = []string{"MINIO_ROOT_USER=archive-user", "MINIO_ROOT_PASSWORD=not-a-secret-but-long", "MINIO_BROWSER=off", "HOME=" + s.dir}
	start(t, s.running)
}

// pgbackrest runs it as the database's user and gives what it printed.
func (s *store) pgbackrest(args ...string) (string, error) {
	cmd := exec.Command(deploy.PgBackRest, append([]string{"--config=" + s.file, "--stanza=" + deploy.ArchiveStanza}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = s.d.Command("psql").SysProcAttr
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// gauge is a metric of the arbiter's at an address; absent gives false.
func gauge(address, name string) (float64, bool) {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		return 0, false
	}
	defer response.Body.Close()
	found := regexp.MustCompile(`(?m)^` + prefix + name + ` (\S+)$`).FindStringSubmatch(readAll(response))
	if found == nil {
		return 0, false
	}
	value, err := strconv.ParseFloat(found[1], 64)
	return value, err == nil
}

// startArchiving starts a database that archives once it is let, and no later than after a time.
func startArchiving(t *testing.T, timeout time.Duration) *database {
	t.Helper()
	d := newDatabase(t, "region_a", nil)
	d.Archiving, d.ArchiveTimeout = true, timeout
	d.Configure(t, false)
	d.Establish(t)
	return d
}

// filled fills segments of WAL, each with a row of its own.
func (d *database) filled(t *testing.T, segments int) {
	t.Helper()
	for range segments {
		d.Super(t, "ofitec_prod", "INSERT INTO ledger VALUES (-1)")
		d.Super(t, "ofitec_prod", "SELECT pg_switch_wal()")
	}
}

func TestAPointInTimeIsRestoredFromTheArchiveIntoANewFolder(t *testing.T) {
	d := startArchiving(t, 2*time.Second)
	s := newStore(t, d)
	s.start(t)
	r := startRegionOn(t, d)
	time.Sleep(3 * time.Second) // more than archive_timeout: a segment waits, for nobody holds the mandate
	if got := d.Super(t, "postgres", "SELECT archived_count FROM pg_stat_archiver"); got != "0" {
		t.Errorf("%s segments were archived before anybody held the mandate", got)
	}
	r.arbiter(t, "arbiter", r.address, "OFITEC_ARCHIVE_FILE="+s.file, "OFITEC_BACKUP_AFTER=0s")
	await(t, 3*time.Minute, "there is a base backup", func() bool { at, known := gauge(r.address, "backup_timestamp_seconds"); return known && at > 0 })
	d.Super(t, "ofitec_prod", "SET ROLE odoo_owner; CREATE TABLE ledger (n int); INSERT INTO ledger SELECT generate_series(1, 100)")
	made, _ := gauge(r.address, "backup_timestamp_seconds")
	await(t, 5*time.Second, "the backup is of an earlier second", func() bool { return time.Since(time.Unix(int64(made), 0)) > 1100*time.Millisecond })
	target := d.Super(t, "postgres", "SELECT clock_timestamp()")
	d.Super(t, "ofitec_prod", "INSERT INTO ledger SELECT generate_series(101, 150)")
	inserted := d.Super(t, "postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())")
	await(t, time.Minute, "the rows are archived by time alone", func() bool {
		return d.Super(t, "postgres", "SELECT coalesce(last_archived_wal, '') >= '"+inserted+"' FROM pg_stat_archiver") == "t"
	})
	if at, known := gauge(r.address, "archived_timestamp_seconds"); !known || time.Since(time.Unix(int64(at), 0)) > time.Minute {
		t.Errorf("archived_timestamp_seconds is %f, %t", at, known)
	}

	// Another content under the name of a segment that is there is refused.
	forged := filepath.Join(d.Dir, "data", "pg_wal", inserted)
	content, err := os.ReadFile(forged)
	must(t, err)
	copied := filepath.Join(d.Dir, inserted)
	content[len(content)-1] ^= 1
	d.Write(t, copied, content)
	if out, err := s.pgbackrest("--reset-archive-push-queue-max", "archive-push", copied); err == nil || !strings.Contains(out, "already exists in the repo1 archive with a different checksum") {
		t.Errorf("a segment was overwritten: %v\n%s", err, out)
	}

	for _, c := range []struct {
		name, rows string
		how        []string
	}{
		{"then", "100", []string{"--type=time", "--target=" + target, "--target-action=promote"}},
		{"last", "150", []string{"--type=default"}},
	} {
		restored := newDatabase(t, "region_a", &d.TLS)
		restored.Name = "restored_" + c.name
		restored.Configure(t, false)
		out, err := s.pgbackrest(append([]string{"--pg1-path=" + restored.DataDir, "--archive-mode=off", "restore"}, c.how...)...)
		if err != nil {
			t.Fatalf("restore: %v\n%s", err, out)
		}
		restored.Start(t)
		await(t, 60*time.Second, "the restored database is writable", func() bool { return restored.Super(t, "postgres", "SELECT pg_is_in_recovery()") == "f" })
		if got := restored.Super(t, "ofitec_prod", "SELECT count(*) FROM ledger"); got != c.rows {
			t.Errorf("restored to %s: %s rows, want %s", c.name, got, c.rows)
		}
	}
	if text, _ := exec.Command("ps", "-eo", "args").Output(); strings.Contains(string(text), "not-a-secret-but-long") {
		t.Error("the secret stands in an argument")
	}
}

func TestWithoutItsStoreTheDatabaseKeepsWALToABoundAndABackupClosesTheHole(t *testing.T) {
	if os.Getenv("OFITEC_DRILLS") == "" {
		t.Skip("takes two minutes: OFITEC_DRILLS=1")
	}
	d := startArchiving(t, time.Minute)
	s := newStore(t, d)
	s.start(t)
	r := startRegionOn(t, d)
	r.arbiter(t, "arbiter", r.address, "OFITEC_ARCHIVE_FILE="+s.file, "OFITEC_BACKUP_AFTER=0s")
	await(t, 3*time.Minute, "there is a base backup", func() bool { at, known := gauge(r.address, "backup_timestamp_seconds"); return known && at > 0 })
	first, _ := gauge(r.address, "backup_timestamp_seconds")
	d.Super(t, "ofitec_prod", "SET ROLE odoo_owner; CREATE TABLE ledger (n int)")
	end(s.running)
	d.filled(t, 3)
	await(t, 30*time.Second, "segments wait", func() bool { n, known := gauge(r.address, "archive_waiting_segments"); return known && n >= 3 })
	conn, err := d.login(context.Background(), r.proxy.Bind)
	must(t, err)
	defer conn.Close(context.Background())
	d.filled(t, 6) // 9 segments of 16 MB are more than 64 MB
	await(t, 90*time.Second, "no more wait than the bound", func() bool { n, known := gauge(r.address, "archive_waiting_segments"); return known && n <= 4 })
	if _, err := conn.Exec(context.Background(), "INSERT INTO ledger VALUES (7)"); err != nil {
		t.Errorf("a write without the store: %v", err)
	}
	s.start(t)
	await(t, 150*time.Second, "a new base backup stands behind the hole", func() bool {
		at, known := gauge(r.address, "backup_timestamp_seconds")
		holes, looked := gauge(r.address, "archive_missing_segments")
		return known && looked && at > first && holes == 0
	})
}
