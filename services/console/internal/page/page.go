// Package page is what the operator's browser sees: the page, the one-time link that opens it, the stream of what changes, and the commands.
package page

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Commander sends a command on its way; the error is shown to the operator.
type Commander interface {
	Command(ctx context.Context, payload events.Payload) error
}

// Historian finds a fact of the list again.
type Historian interface {
	Detail(sequence uint64) (events.Event, bool)
}

// Page serves. All fields are required and stay as they are.
type Page struct {
	Door      *Door
	Stream    *Stream
	Facts     Historian
	Commands  Commander
	Numbers   Accountant
	Version   string
	Host      string // the host that the service listens on; others that a browser may name are loopback's
	Now       func() time.Time
	Log       *slog.Logger
	Refused   func(why string) // counts
	Commanded func(verb string, err error)
}

// policy lets the page load its own files and talk to its own server, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Register adds the page's paths to a service's.
func (p *Page) Register(mux *http.ServeMux) {
	forgery := http.NewCrossOriginProtection()
	open := func(pattern string, handler http.HandlerFunc) { mux.Handle(pattern, p.guarded(handler)) }
	inside := func(pattern string, handler func(http.ResponseWriter, *http.Request, session)) {
		open(pattern, func(w http.ResponseWriter, r *http.Request) {
			visitor, welcome := p.Door.visitor(r)
			if !welcome {
				p.refuse(w, r)
				return
			}
			handler(w, r, visitor)
		})
	}
	command := func(pattern string, handler func(http.ResponseWriter, *http.Request, session)) {
		inside(pattern, func(w http.ResponseWriter, r *http.Request, s session) {
			if err := forgery.Check(r); err != nil || subtle.ConstantTimeCompare([]byte(r.Header.Get("X-Ofitec-Token")), []byte(s.csrf)) != 1 {
				p.Refused("forgery")
				p.fail(w, http.StatusForbidden, "the request does not come from this page: reload it and try again")
				return
			}
			handler(w, r, s)
		})
	}
	open("GET /enter", p.enter)
	open("GET /assets/{name}", serveAsset)
	open("GET /favicon.ico", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/assets/icon.svg", http.StatusFound)
	})
	inside("GET /{$}", func(w http.ResponseWriter, _ *http.Request, _ session) { servePage(w, http.StatusOK, "index.html") })
	inside("GET /api/session", func(w http.ResponseWriter, _ *http.Request, _ session) { w.WriteHeader(http.StatusNoContent) })
	inside("GET /api/stream", p.listen)
	inside("GET /api/events/{sequence}", p.detail)
	inside("GET /api/kpis", p.kpis)
	inside("GET /api/figures.csv", p.figures)
	inside("GET /api/ledger", p.ledger)
	inside("GET /api/documents.csv", p.documents)
	inside("GET /api/closed.csv", p.closed)
	command("POST /api/jobs/{verb}", p.job)
	command("POST /api/leave", p.leave)
}

// guarded sets the headers that hold for all of the page, and refuses a host that is not this machine: a name that was bound anew to loopback is somebody else's.
func (p *Page) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		header.Set("Cache-Control", "no-store")
		if !p.hostIsOurs(r.Host) {
			p.Refused("host")
			http.Error(w, "this page is served on loopback only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *Page) hostIsOurs(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	ip := net.ParseIP(host)
	return host == "localhost" || host == p.Host || ip != nil && ip.IsLoopback()
}

// enter exchanges the link for a session. The page then has an address without the token.
func (p *Page) enter(w http.ResponseWriter, r *http.Request) {
	cookie := ""
	if r.Method == http.MethodGet { // a HEAD is a preview's
		cookie = p.Door.enter(r.URL.Query().Get("token"))
	}
	if cookie == "" {
		p.refuse(w, r)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionLife.Seconds())}) //nolint:gosec // the page is plain HTTP on loopback: a Secure cookie would not come back
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// refuse says where the link is; never the link.
func (p *Page) refuse(w http.ResponseWriter, r *http.Request) {
	p.Refused("session")
	if strings.HasPrefix(r.URL.Path, "/api/") {
		p.fail(w, http.StatusUnauthorized, "no session: open the link that ofitec console prints")
		return
	}
	servePage(w, http.StatusUnauthorized, "closed.html")
}

func (p *Page) fail(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": reason}) // the caller has gone when this fails
}

func (p *Page) listen(w http.ResponseWriter, r *http.Request, s session) {
	greeting := map[string]any{"now": p.Now().UTC(), "version": p.Version, "token": s.csrf}
	p.Stream.serve(w, r, p.Now, greeting, func() bool {
		_, welcome := p.Door.visitor(r)
		return welcome
	})
}

// detail is an event as it was published.
func (p *Page) detail(w http.ResponseWriter, r *http.Request, _ session) {
	sequence, err := strconv.ParseUint(r.PathValue("sequence"), 10, 64)
	if err != nil {
		p.fail(w, http.StatusBadRequest, "sequence "+strconv.Quote(r.PathValue("sequence"))+": want a number")
		return
	}
	event, found := p.Facts.Detail(sequence)
	if !found {
		p.fail(w, http.StatusNotFound, "event "+strconv.FormatUint(sequence, 10)+" is not in the list any more: ofitec events replay --from has it")
		return
	}
	data, err := event.Encode()
	if err != nil {
		p.fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", events.ContentType)
	_, _ = w.Write(data) // the caller has gone when this fails
}

func (p *Page) leave(w http.ResponseWriter, r *http.Request, _ session) {
	p.Door.leave(r)
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1}) //nolint:gosec // as above
	w.WriteHeader(http.StatusNoContent)
}
