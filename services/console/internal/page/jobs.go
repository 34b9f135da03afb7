package page

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
)

const (
	jobLimit      = 4 << 10
	commandWithin = 5 * time.Second
)

// order is what the page sends: the subject of the command and why.
type order struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// verbs are the commands that the page offers.
var verbs = map[string]func(name string, act events.Act) events.Payload{
	"rotate": func(name string, act events.Act) events.Payload { return events.JobRotate{Name: name, Act: act} },
	"export": func(name string, act events.Act) events.Payload { return events.JobExport{Dataset: name, Act: act} },
}

// job publishes a command with who asked for it and why. The answer means that the bus has it, not that it is done: what follows is in the list of events.
func (p *Page) job(w http.ResponseWriter, r *http.Request, s session) {
	verb := r.PathValue("verb")
	payloadOf, known := verbs[verb]
	if !known {
		p.fail(w, http.StatusNotFound, "no command "+verb+": want rotate or export")
		return
	}
	var o order
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, jobLimit))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		p.fail(w, http.StatusBadRequest, "read command: "+err.Error())
		return
	}
	act := events.Act{Actor: "operator (console session " + s.id + ")", Reason: strings.TrimSpace(o.Reason), Request: "console-" + secret()[:22], At: p.Now().UTC()}
	payload := payloadOf(o.Name, act)
	if err := payload.Validate(); err != nil {
		var invalid *events.InvalidError
		if errors.As(err, &invalid) {
			p.fail(w, http.StatusUnprocessableEntity, err.Error())
			return
		}
		p.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), commandWithin)
	defer cancel()
	err := p.Commands.Command(ctx, payload)
	p.Commanded(verb, err)
	if err != nil {
		p.Log.WarnContext(ctx, "command was not sent", "verb", verb, "name", o.Name, "error", err)
		p.fail(w, http.StatusBadGateway, err.Error())
		return
	}
	p.Log.InfoContext(ctx, "command sent", "verb", verb, "name", o.Name, "actor", act.Actor, "request", act.Request)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"request": act.Request}) // the caller has gone when this fails
}
