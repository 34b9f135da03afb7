package main

import (
	"encoding/json"
	"net"
	"net/http"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/porter"
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
// etcd and no database can hold them up. They are given at the door; the handlers are for whoever asks in another way.
func (a *arbiter) serveHTTP() {
	answers := map[string]porter.Answer{"/mandate": a.mandate, "/standby": a.standby}
	a.service.Listening = func(listener net.Listener) net.Listener { return porter.New(listener, answers) }
	for path, answer := range answers {
		a.service.HTTP.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			status, body := answer()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write(body) // the caller has gone when this fails
		})
	}
}

func (a *arbiter) mandate() (int, []byte) {
	return a.reply(a.keeper.View().Answer.Yes(clock.Now()))
}

func (a *arbiter) standby() (int, []byte) {
	if a.hands == nil {
		return a.reply(false, "this region has no data")
	}
	if yes, _ := a.keeper.View().Answer.Yes(clock.Now()); yes {
		return a.reply(false, "this region holds the mandate")
	}
	return a.reply(a.hands.Standby())
}

// serveJudgement adds what this arbiter makes of the regions and of the failover under way.
func (a *arbiter) serveJudgement() {
	a.service.HTTP.HandleFunc("GET /failover", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.judgement.status()) // the caller has gone when this fails
	})
}

func (a *arbiter) reply(yes bool, why string) (status int, body []byte) {
	view := a.keeper.View()
	said := answer{Region: events.Region(a.config.Region), Yes: yes, Epoch: view.Epoch, Reason: why}
	said.Remaining = max(view.Until-clock.Now().Boot, 0).Seconds()
	body, err := json.Marshal(said)
	if err != nil {
		a.service.Log.Error("an answer cannot be written", "error", err)
		return http.StatusInternalServerError, nil
	}
	if status = http.StatusServiceUnavailable; yes {
		status = http.StatusOK
	}
	return status, body
}
