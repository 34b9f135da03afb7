package control

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// Refused is a colour's environment file that a person has to look at; nothing was touched.
type Refused struct{ Reason string }

func (e *Refused) Error() string { return e.Reason }

// Renderer changes a colour's environment file as the wish says that is read: to what stands in it, or to what the other colour has. A *Refused is told apart from other errors.
type Renderer func(ctx context.Context, colour string, wish io.Reader) error

// OdooHandler serves a region's deployer: the two colours of its own region and nothing else. It writes their environment files, which are Odoo's user's alone, and
// starts them anew. What was begun is finished though the deployer dies: a colour is never left stopped.
func OdooHandler(stack Stack, region string, render Renderer) http.Handler {
	mux := http.NewServeMux()
	for _, colour := range []string{"blue", "green"} {
		id, at := region+"/odoo-"+colour, "POST /v1/units/odoo-"+colour
		mux.HandleFunc(at+"/restart", func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
			defer cancel()
			reply(w, struct{}{}, errors.Join(stack.StopUnit(ctx, id, 0), stack.StartUnit(id)))
		})
		mux.HandleFunc(at+"/render", func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 30*time.Second)
			defer cancel()
			err := render(ctx, colour, io.LimitReader(r.Body, 64<<10))
			var refused *Refused
			if errors.As(err, &refused) {
				w = unprocessable{w}
			}
			reply(w, struct{}{}, err)
		})
	}
	return mux
}

// unprocessable answers 422 whatever the status.
type unprocessable struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (u unprocessable) WriteHeader(int) { u.ResponseWriter.WriteHeader(http.StatusUnprocessableEntity) }
