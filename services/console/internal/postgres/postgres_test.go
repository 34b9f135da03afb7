package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
)

// start runs a PostgreSQL of the test's own and gives its DSN. Its folder is not below t.TempDir, whose parents the server's user may not enter.
func start(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real PostgreSQL")
	}
	bin, err := exec.Command("pg_config", "--bindir").Output()
	if err != nil {
		t.Skip("PostgreSQL is not installed: pg_config does not answer")
	}
	dir, err := os.MkdirTemp("/tmp", "console-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	as := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("there is no user postgres")
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	run := func(name string, args ...string) {
		t.Helper()
		log, err := os.CreateTemp(t.TempDir(), "out") // not a pipe: the server would keep it open
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		c := exec.Command(filepath.Join(strings.TrimSpace(string(bin)), name), args...)
		c.Dir, c.SysProcAttr, c.Stdout, c.Stderr = dir, as, log, log
		if err := c.Run(); err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
	}
	_, port, _ := strings.Cut(chassistest.FreeAddr(t), ":")
	data := filepath.Join(dir, "p")
	run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")
	run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "-o", fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%s -c unix_socket_directories=%s -c fsync=off -c shared_buffers=16MB", port, dir), "start")
	t.Cleanup(func() { run("pg_ctl", "-D", data, "-m", "immediate", "stop") })
	return "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "analytics.dsn")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMonthsAreReadOldestFirstAndWhatIsUnknownStaysUnknown(t *testing.T) {
	dsn := start(t)
	reader := file(t, dsn+"\n")
	if _, err := postgres.Months(t.Context(), reader); !errors.Is(err, postgres.ErrUnpublished) {
		t.Fatalf("before the first publication: %v", err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `CREATE TABLE mart_kpi_company AS SELECT * FROM (VALUES
		(date '2026-02-28', 100.00::numeric(18,2), 75.00::numeric(18,2), 0.250000::numeric(18,6), 1234567890123.00::numeric(18,2)),
		(date '2026-03-31', 0.00, 10.00, NULL, NULL)) AS m(month_end, revenue, direct_cost, gross_margin, cash)`)
	if err != nil {
		t.Fatal(err)
	}
	months, err := postgres.Months(t.Context(), reader)
	if err != nil || len(months) != 2 {
		t.Fatalf("%+v, %v", months, err)
	}
	if m := months[0]; m.End != "2026-02-28" || *m.Margin != 0.25 || *m.Cash != 1234567890123 || *m.DirectCost != 75 {
		t.Errorf("the first month %+v", m)
	}
	if m := months[1]; m.End != "2026-03-31" || m.Margin != nil || m.Cash != nil || *m.Revenue != 0 {
		t.Errorf("the second month %+v", m)
	}
}

func TestAConnectionThatCannotBeMadeIsSaidWithoutItsPassword(t *testing.T) {
	for content, want := range map[string]string{
		"postgres://reader:s3cret@" + chassistest.FreeAddr(t) + "/analytics?sslmode=disable": "connect to analytics",
		"postgres://reader:s3cret@127.0.0.1:nowhere/analytics":                               "no connection string",
	} {
		_, err := postgres.Months(t.Context(), file(t, content))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want %s and no password", err, want)
		}
	}
	if _, err := postgres.Months(t.Context(), filepath.Join(t.TempDir(), "absent")); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("got %v", err)
	}
}
