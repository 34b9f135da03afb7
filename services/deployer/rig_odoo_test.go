package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// slowFile says in milliseconds how slow each colour is; each request reads it.
const slowFile = "slow.json"

// serveOdoo is one colour: a process that reads its environment file once, at its start, as Odoo does, keeps a pool of sessions, and ends by SIGTERM after its open
// requests.
func serveOdoo(address, env, dir string) {
	content, err := os.ReadFile(env)
	if err != nil {
		os.Exit(1)
	}
	login, err := dotenv.Read(content, "POSTGRES_USER", "POSTGRES_PASSWORD")
	if err != nil {
		os.Exit(1)
	}
	settings, err := pgxpool.ParseConfig(os.Getenv("DEPLOYER_TEST_DATABASE"))
	if err != nil {
		os.Exit(1)
	}
	settings.ConnConfig.User, settings.ConnConfig.Password, settings.MaxConns = login[0].Text, login[1].Text, 6
	pool, err := pgxpool.NewWithConfig(context.Background(), settings)
	if err != nil {
		os.Exit(1)
	}
	colour := filepath.Base(filepath.Dir(env))
	dawdle := func() {
		var slow map[string]int
		text, _ := os.ReadFile(filepath.Join(dir, slowFile)) // nothing is slow without it
		_ = json.Unmarshal(text, &slow)
		time.Sleep(time.Duration(slow[colour]) * time.Millisecond)
	}
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "odoo_http_request_duration_seconds", Help: "Time to answer.", Buckets: []float64{.05, .5, 1.2, 5}}, []string{"method", "route", "code"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(durations)
	mux := http.NewServeMux()
	handle := func(route string, work func(r *http.Request) error) {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			began, code := time.Now(), http.StatusOK
			dawdle()
			err := work(r)
			if err != nil {
				code = http.StatusServiceUnavailable
			}
			w.Header().Set("X-User", login[0].Text)
			w.WriteHeader(code)
			if err != nil {
				fmt.Fprintln(w, err)
			}
			durations.WithLabelValues(r.Method, route, strconv.Itoa(code)).Observe(time.Since(began).Seconds())
		})
	}
	handle("/web/health", func(r *http.Request) error {
		var role string
		if err := again(func() error { return pool.QueryRow(r.Context(), "SELECT current_user").Scan(&role) }); err != nil || role != "odoo_owner" {
			return fmt.Errorf("the role is %q: %w", role, err)
		}
		return nil
	})
	handle("/of/ledger", func(r *http.Request) error {
		time.Sleep(20 * time.Millisecond) // so that there is something to drain
		if r.Method == http.MethodPost {
			var entry struct {
				Writer string
				Seq    int64
			}
			if err := json.NewDecoder(r.Body).Decode(&entry); err != nil {
				return err
			}
			return again(func() error {
				_, err := pool.Exec(r.Context(), "INSERT INTO entry VALUES ($1, $2) ON CONFLICT DO NOTHING", entry.Writer, entry.Seq)
				return err
			})
		}
		var entries int
		return again(func() error {
			return pool.QueryRow(r.Context(), "SELECT count(*) FROM entry WHERE writer = $1", r.FormValue("writer")).Scan(&entries)
		})
	})
	handle("/upgrade", func(r *http.Request) error {
		_, err := pool.Exec(r.Context(), upgrade(r.FormValue("n")))
		return err
	})
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Addr: address, Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		os.Exit(1)
	}
	<-ended
}

// again tries what could not connect once more: the server gives a login one second, which a starved machine may miss. A login that was refused is none of that.
func again(work func() error) (err error) {
	for range 5 {
		var unreached *pgconn.ConnectError
		var refused *pgconn.PgError
		if err = work(); !errors.As(err, &unreached) || errors.As(err, &refused) {
			return err
		}
	}
	return err
}

// upgrade is what an upgrade of a module does to the database: a table is made, one that another user has made is altered, and so is one that is in use.
func upgrade(n string) string {
	const statements = `CREATE TABLE module_@N (id serial PRIMARY KEY, name text);
CREATE VIEW module_view_@N AS SELECT name FROM module_@N;
CREATE FUNCTION module_function_@N() RETURNS int LANGUAGE sql AS 'SELECT @N';
INSERT INTO module_@N (name) VALUES ('made by an upgrade');
ALTER TABLE entry ADD COLUMN module_@N int;
DO $$ BEGIN IF to_regclass('module_' || (@N - 1)) IS NOT NULL THEN
  EXECUTE 'ALTER TABLE module_' || (@N - 1) || ' ADD COLUMN upgraded int';
  EXECUTE 'DROP FUNCTION module_function_' || (@N - 1) || '()';
END IF; END $$`
	return strings.ReplaceAll(statements, "@N", n)
}

// startScript starts a colour anew: it ends the process before, waits until that is gone, starts another and returns. What it was asked for stands in starts.
const startScript = `#!/bin/sh
set -eu
cd "@DIR"
echo "$COLOUR" >> starts
if [ -f "$COLOUR.pid" ]; then
  kill "$(cat "$COLOUR.pid")" 2>/dev/null || true
  while kill -0 "$(cat "$COLOUR.pid")" 2>/dev/null; do sleep 0.02; done
fi
case $COLOUR in
  blue) address=@BLUE ;;
  green) address=@GREEN ;;
esac
DEPLOYER_TEST_ODOO=$address DEPLOYER_TEST_ENV="${ENV_FILE:-@DIR/$COLOUR/.env}" DEPLOYER_TEST_DIR="@DIR" DEPLOYER_TEST_DATABASE="@DATABASE" setsid "@PROGRAM" > "$COLOUR.log" 2>&1 &
echo $! > "$COLOUR.pid"
`

func scriptFor(dir, blue, green, program, database string) string {
	return strings.NewReplacer("@DIR", dir, "@BLUE", blue, "@GREEN", green, "@PROGRAM", program, "@DATABASE", database).Replace(startScript)
}
