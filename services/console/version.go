package main

import (
	"encoding/json"
	"net/http"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/chassis/buildinfo"
)

// version is the answer of GET /api/version.
type version struct {
	Service string         `json:"service"`
	Build   buildinfo.Info `json:"build"`
	Bus     busState       `json:"bus"`
}

// busState says over which region's server the console is connected to the bus; Server is empty when it is not.
type busState struct {
	Connected bool   `json:"connected"`
	Server    string `json:"server"`
}

func versionHandler(bus *nats.Conn) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		state := busState{Connected: bus.IsConnected(), Server: bus.ConnectedUrlRedacted()}
		_ = json.NewEncoder(w).Encode(version{Service: name, Build: buildinfo.Get(), Bus: state}) // the caller has gone when this fails
	}
}
