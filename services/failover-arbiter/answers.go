package main

import (
	"encoding/json"
	"net/http"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
)

// answer is the body of /mandate and /standby.
type answer struct {
	Region    events.Region `json:"region"`
	Yes       bool          `json:"yes"`
	Epoch     events.Epoch  `json:"epoch"`
	Remaining float64       `json:"remaining_seconds"` // of the own mandate
	Reason    string        `json:"reason,omitempty"`  // why not
}

// serveHTTP adds what the proxies ask several times a second. Both answers come from what was published last, and expire by the clock alone: no lock, no
// etcd and no database can hold them up.
func (a *arbiter) serveHTTP() {
	a.service.HTTP.HandleFunc("GET /mandate", func(w http.ResponseWriter, _ *http.Request) {
		yes, why := a.keeper.View().Answer.Yes(clock.Now())
		a.reply(w, yes, why)
	})
	a.service.HTTP.HandleFunc("GET /standby", func(w http.ResponseWriter, _ *http.Request) {
		if a.hands == nil {
			a.reply(w, false, "this region has no data")
			return
		}
		if yes, _ := a.keeper.View().Answer.Yes(clock.Now()); yes {
			a.reply(w, false, "this region holds the mandate")
			return
		}
		yes, why := a.hands.Standby()
		a.reply(w, yes, why)
	})
}

// serveJudgement adds what this arbiter makes of the regions and of the failover under way.
func (a *arbiter) serveJudgement() {
	a.service.HTTP.HandleFunc("GET /failover", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.judgement.status()) // the caller has gone when this fails
	})
}

func (a *arbiter) reply(w http.ResponseWriter, yes bool, why string) {
	view := a.keeper.View()
	w.Header().Set("Content-Type", "application/json")
	if !yes {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	body := answer{Region: events.Region(a.config.Region), Yes: yes, Epoch: view.Epoch, Reason: why}
	body.Remaining = max(view.Until-clock.Now().Boot, 0).Seconds()
	_ = json.NewEncoder(w).Encode(body) // the caller has gone when this fails
}
