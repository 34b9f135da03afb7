package main

import (
	"encoding/json"
	"net/http"

	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// status is what /v1/status answers.
type status struct {
	Region     string `json:"region"`
	Active     bool   `json:"active"`     // this region publishes
	Publishing bool   `json:"publishing"` // a database for readers is configured
	Failure    string `json:"failure"`    // why the last publication failed; empty when it did not
	warehouse.Status
}

func (t *transform) serveStatus(w http.ResponseWriter, r *http.Request) {
	found, err := t.warehouse.Status(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s := status{Region: t.config.Region, Status: found, Publishing: t.publisher != nil}
	if t.publisher != nil {
		s.Active = t.publisher.sees.Load()
		s.Failure, _ = t.publisher.fail.Load().(string)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // a reader that is gone is not ours to care for
}
