// Package web is the stand-in's HTTP side: which route is whose, who may ask, how long it took.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/export"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/ledger"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
)

// healthTimeout bounds a health check: an answer that takes longer is no health.
const healthTimeout = 2 * time.Second

// Site is everything that answers requests.
type Site struct {
	Database *database.Database
	Export   *export.Exporter
	Ledger   *ledger.Ledger
	Metrics  *Metrics
	// Token guards /of/export/*; empty for no guard.
	Token string
	// Master opens the database manager; empty for nobody.
	Master string
	// Timeout bounds a request's work.
	Timeout time.Duration
	Log     *slog.Logger
}

// Handler gives all routes.
func (s *Site) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range []struct {
		method, route string
		handler       http.HandlerFunc
	}{
		{"GET", "/web/health", s.health},
		{"GET", "/of/export/{dataset}", s.guarded(s.fresh(s.Export.Page))},
		{"GET", "/of/export/{dataset}/ids", s.guarded(s.fresh(s.Export.IDs))},
		{"GET", "/of/export/{dataset}/summary", s.guarded(s.fresh(s.Export.Summary))},
		{"POST", "/of/ledger", s.notForExport(s.Ledger.Append)},
		{"GET", "/of/ledger", s.notForExport(s.fresh(s.Ledger.List))},
		{"POST", "/web/database/backup", s.notForExport(s.backup)},
		{"GET", "/{$}", s.front},
	} {
		mux.HandleFunc(r.method+" "+r.route, s.Metrics.measure(r.route, s.bounded(r.handler)))
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics.Registry, promhttp.HandlerOpts{}))
	return mux
}

func (s *Site) bounded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
		defer cancel()
		next(w, r.WithContext(ctx))
	}
}

func (s *Site) guarded(next http.HandlerFunc) http.HandlerFunc {
	if s.Token == "" {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.showsToken(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="odoo export"`)
			reply.JSON(w, http.StatusUnauthorized, reply.Problem{Error: "the export needs its token: Authorization: Bearer ..."})
			return
		}
		next(w, r)
	}
}

// notForExport refuses the export's identity: it reads the export and nothing else, and above all it writes nothing.
func (s *Site) notForExport(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.showsToken(r) {
			reply.JSON(w, http.StatusForbidden, reply.Problem{Error: "the token of the export may read /of/export/* and nothing else"})
			return
		}
		next(w, r)
	}
}

// showsToken says that a request comes with the export's token.
func (s *Site) showsToken(r *http.Request) bool {
	if s.Token == "" {
		return false
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256([]byte(s.Token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// Health is the answer of /web/health.
type Health struct {
	Status   string         `json:"status"`
	Database database.State `json:"database"`
}

func (s *Site) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
	defer cancel()
	h := Health{Status: "fail", Database: database.Away}
	err := s.Database.Read(ctx, func(_ context.Context, _ pgx.Tx, state database.State) error {
		h = Health{Status: "pass", Database: state}
		return nil
	})
	if err != nil {
		s.Log.Debug("health check failed", "error", err)
		w.Header().Set("Retry-After", "1")
		reply.JSON(w, http.StatusServiceUnavailable, Health{Status: "fail", Database: database.Away})
		return
	}
	reply.JSON(w, http.StatusOK, h)
}

func (s *Site) front(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "Odoo stand-in, colour "+s.Ledger.Colour+" of region "+s.Ledger.Region+"\n/web/health /metrics /of/export/<dataset> /of/ledger\n")
}

// Visit asks this colour for its own health until ctx ends, because the gates say nothing about a service without
// requests, and the cold colour and the standby region have no users. Failures are what the histogram is for.
func Visit(ctx context.Context, url string, every time.Duration) {
	client := &http.Client{Timeout: 2 * healthTimeout}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		if response, err := client.Do(request); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}
}
