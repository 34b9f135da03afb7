package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// accounts is the "database" of the test's Odoo: who may log in, and how it behaves. It is a file that the test rewrites and each request reads.
type accounts struct {
	Users    map[string]string // password by user
	ReadOnly bool
	Slow     map[string]time.Duration // by user
}

const accountsFile = "accounts.json"

// serveOdoo is one colour: a process that reads its environment file once, at its start, as Odoo does. It ends by SIGTERM after its open requests.
func serveOdoo(address, env, dir string) {
	content, err := os.ReadFile(env)
	if err != nil {
		os.Exit(1)
	}
	login, err := dotenv.Read(content, keyUser, keyPassword)
	if err != nil {
		os.Exit(1)
	}
	database := func() (a accounts, ok bool) {
		text, err := os.ReadFile(filepath.Join(dir, accountsFile))
		if err != nil || json.Unmarshal(text, &a) != nil {
			return a, false
		}
		time.Sleep(a.Slow[login[0].Text])
		return a, a.Users[login[0].Text] == login[1].Text
	}
	durations := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "odoo_http_request_duration_seconds", Help: "Time to answer.", Buckets: []float64{.05, .5, 1.2, 5}}, []string{"method", "route", "code"})
	registry := prometheus.NewRegistry()
	registry.MustRegister(durations)
	mux := http.NewServeMux()
	handle := func(route string, work func(w http.ResponseWriter, r *http.Request, a accounts) int) {
		mux.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			code := http.StatusServiceUnavailable
			if a, ok := database(); ok {
				code = work(w, r, a)
			}
			w.Header().Set("X-User", login[0].Text)
			w.WriteHeader(code)
			durations.WithLabelValues(r.Method, route, strconv.Itoa(code)).Observe(time.Since(began).Seconds())
		})
	}
	handle("/web/health", func(http.ResponseWriter, *http.Request, accounts) int { return 200 })
	handle("/of/ledger", func(_ http.ResponseWriter, r *http.Request, a accounts) int {
		if r.Method == http.MethodPost && a.ReadOnly {
			return 503
		}
		time.Sleep(20 * time.Millisecond) // so that there is something to drain
		return 200
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
DEPLOYER_TEST_ODOO=$address DEPLOYER_TEST_ENV="@DIR/$COLOUR/.env" DEPLOYER_TEST_DIR="@DIR" setsid "@PROGRAM" > "$COLOUR.log" 2>&1 &
echo $! > "$COLOUR.pid"
`

func scriptFor(dir, blue, green, program string) string {
	return strings.NewReplacer("@DIR", dir, "@BLUE", blue, "@GREEN", green, "@PROGRAM", program).Replace(startScript)
}
