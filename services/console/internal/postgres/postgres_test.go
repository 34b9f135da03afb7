package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/services/console/internal/postgres"
)

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "analytics.dsn")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMonthsAreReadOldestFirstAndWhatIsUnknownStaysUnknown(t *testing.T) {
	dsn := postgrestest.Bare(t)
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
