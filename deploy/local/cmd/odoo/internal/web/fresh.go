package web

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
)

// Headers of a read on a copy.
const (
	headerStaleness    = "X-Ofitec-Staleness-Seconds" // how old at most the rows of the answer are
	headerMaxStaleness = "X-Ofitec-Max-Staleness"     // how old they may be for this reader, in seconds
)

// fresh says on each read how old its rows may be, and refuses the reader who wants them newer than they can be had here. On the writable side they are new.
func (s *Site) fresh(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		limit, limited := 0.0, false
		if text := r.Header.Get(headerMaxStaleness); text != "" {
			var err error
			if limit, err = strconv.ParseFloat(text, 64); err != nil || !(limit >= 0) {
				reply.Error(w, r, s.Log, reply.Bad(headerMaxStaleness, "%q is not a number of seconds from 0", text))
				return
			}
			limited = true
		}
		age, known := s.Database.Staleness(time.Now())
		if limited && s.Database.State() != database.Writable && (!known || age.Seconds() > limit) {
			w.Header().Set("Retry-After", "1")
			problem := fmt.Sprintf("this copy is %.1f s old, and the reader wants at most %g s", age.Seconds(), limit)
			if !known {
				problem = "nobody knows how old this copy is"
			}
			reply.JSON(w, http.StatusServiceUnavailable, reply.Problem{Error: problem, Parameter: headerMaxStaleness})
			return
		}
		next(&aged{ResponseWriter: w, db: s.Database}, r)
	}
}

// aged adds the header once the answer says which side it was read on. The limit was judged before: a side that changes meanwhile is told of by the header alone.
type aged struct {
	http.ResponseWriter
	db *database.Database
}

// WriteHeader implements http.ResponseWriter.
func (a *aged) WriteHeader(code int) {
	switch database.State(a.Header().Get("X-Ofitec-Database")) {
	case database.Writable:
		a.Header().Set(headerStaleness, "0")
	case database.ReadOnly:
		if age, known := a.db.Staleness(time.Now()); known {
			a.Header().Set(headerStaleness, strconv.FormatFloat(age.Seconds(), 'f', 3, 64))
		}
	}
	a.ResponseWriter.WriteHeader(code)
}
