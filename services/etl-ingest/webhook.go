package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/webhook"
)

// announcementLimit is more than any announcement needs.
const announcementLimit = 64 << 10

// webhookPath is where Odoo announces that there is something to export.
const webhookPath = "POST /v1/announce"

// announcements takes Odoo's word that there is something to pull: 202 when it will be, 400 or 401 when the announcement is not good, 503 where this region does not
// read, or does not know the secret yet.
func announcements(s *schedule, keys *keyring) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, announcementLimit))
		if err != nil {
			answer(w, http.StatusRequestEntityTooLarge, "the body is longer than 64 KiB, or broke off")
			return
		}
		err = keys.verify(r, body)
		if errors.Is(err, errUnknown) {
			s.metrics.announced.WithLabelValues("unknown").Inc()
			w.Header().Set("Retry-After", "5")
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		if err != nil {
			s.metrics.announced.WithLabelValues("unsigned").Inc()
			answer(w, http.StatusUnauthorized, err.Error())
			return
		}
		datasets, err := webhook.Read(body, s.runner.names())
		if err != nil {
			s.metrics.announced.WithLabelValues("wrong").Inc()
			answer(w, http.StatusBadRequest, err.Error())
			return
		}
		if err := s.ask(datasets); err != nil {
			s.metrics.announced.WithLabelValues("elsewhere").Inc()
			w.Header().Set("Retry-After", "5")
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		s.metrics.announced.WithLabelValues("taken").Inc()
		answer(w, http.StatusAccepted, "")
	}
}

func answer(w http.ResponseWriter, status int, problem string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	content := map[string]any{"accepted": problem == ""}
	if problem != "" {
		content["error"] = problem
	}
	_ = json.NewEncoder(w).Encode(content) // who does not wait for it does not need it
}

// errElsewhere is why an announcement is not taken.
var errElsewhere = errors.New("this region does not read now: the other one may, or nobody while a failover is under way")

// ask has datasets pulled soon. Those that are asked for several times meanwhile are pulled once.
func (s *schedule) ask(datasets []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.reading {
		return errElsewhere
	}
	for _, dataset := range datasets {
		s.asked[dataset] = true
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is awake already
	}
	return nil
}

// takeAsked gives what was asked for since the last time.
func (s *schedule) takeAsked() (datasets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for dataset := range s.asked {
		datasets = append(datasets, dataset)
	}
	clear(s.asked)
	return datasets
}
