// Package reply writes the stand-in's JSON answers, errors among them, in one form.
package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
)

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
	// Parameter names the part of the request that is wrong; empty when it is not the request.
	Parameter string `json:"parameter,omitempty"`
}

// BadParameter is a request that cannot be understood.
type BadParameter struct{ Parameter, Text string }

func (e *BadParameter) Error() string { return e.Parameter + " " + e.Text }

// Bad makes a BadParameter.
func Bad(parameter, format string, args ...any) error {
	return &BadParameter{parameter, fmt.Sprintf(format, args...)}
}

// JSON answers with a value.
func JSON(w http.ResponseWriter, code int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"error":"cannot encode the answer"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	// A client that went away is no event.
	_, _ = w.Write(append(body, '\n'))
}

// Error answers with what err is: 400 for a *BadParameter, 503 with Retry-After for a database that is away or read-only, else
// 500, whose cause goes to the log only.
func Error(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	var bad *BadParameter
	if errors.As(err, &bad) {
		JSON(w, http.StatusBadRequest, Problem{Error: bad.Error(), Parameter: bad.Parameter})
		return
	}
	if r.Context().Err() != nil || database.IsAway(err) {
		log.Debug("database is away", "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "1")
		JSON(w, http.StatusServiceUnavailable, Problem{Error: "the database is away or takes no writes; try again"})
		return
	}
	log.Error("request failed", "path", r.URL.Path, "error", err)
	JSON(w, http.StatusInternalServerError, Problem{Error: "internal error; see the log"})
}
