// Package ledger serves /of/ledger: writes that are acknowledged only once they are committed, so that a drill can count
// what a failover lost.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
)

const (
	maxBody   = 4 << 10
	maxWriter = 64
)

// Database writes on the writable side and reads on whichever side answers.
type Database interface {
	Write(ctx context.Context, fn func(conn *pgxpool.Conn) error) error
	Read(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx, state database.State) error) error
}

// Ledger answers requests. It is safe for concurrent use.
type Ledger struct {
	Database       Database
	Region, Colour string
	Log            *slog.Logger
}

// Entry is one acknowledged write.
type Entry struct {
	Writer string `json:"writer"`
	Seq    int64  `json:"seq"`
	// Region and Colour took the write first; a repetition does not change them.
	Region   string    `json:"region"`
	Colour   string    `json:"colour"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"`
}

// Receipt is the answer to a write.
type Receipt struct {
	Entry
	// ServedBy is the region that answers; LSN a position of the write-ahead log at or behind the commit, as the server had
	// it on disk (flushed) and in its buffers (inserted) right after the commit.
	ServedBy string `json:"served_by"`
	LSN      string `json:"lsn"`
	Inserted string `json:"insert_lsn"`
	Timeline int64  `json:"timeline"`
}

// Append serves POST /of/ledger. 200 means committed; 503 means that nobody knows, and that the same request may be sent again.
func (l *Ledger) Append(w http.ResponseWriter, r *http.Request) {
	writer, seq, err := parse(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		reply.Error(w, r, l.Log, err)
		return
	}
	receipt := Receipt{ServedBy: l.Region}
	err = l.Database.Write(r.Context(), func(conn *pgxpool.Conn) error { //nolint:contextcheck // the request's context is the one
		// A repetition writes too: its commit waits, as the first one may have had to, for the standby to have both.
		err := conn.QueryRow(r.Context(), `INSERT INTO of_ledger (writer, seq, region, colour) VALUES ($1, $2, $3, $4)
			ON CONFLICT (writer, seq) DO UPDATE SET attempts = of_ledger.attempts + 1
			RETURNING writer, seq, region, colour, at, attempts`, writer, seq, l.Region, l.Colour).
			Scan(&receipt.Writer, &receipt.Seq, &receipt.Region, &receipt.Colour, &receipt.At, &receipt.Attempts)
		if err != nil {
			return fmt.Errorf("append to ledger: %w", err)
		}
		err = conn.QueryRow(r.Context(), `SELECT pg_current_wal_flush_lsn()::text, pg_current_wal_insert_lsn()::text,
			('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint`).Scan(&receipt.LSN, &receipt.Inserted, &receipt.Timeline)
		if err != nil {
			return fmt.Errorf("ask for position of the log: %w", err)
		}
		return nil
	})
	if err != nil {
		reply.Error(w, r, l.Log, err)
		return
	}
	reply.JSON(w, http.StatusOK, receipt)
}

func parse(body io.Reader) (writer string, seq int64, err error) {
	var request struct {
		Writer *string      `json:"writer"`
		Seq    *json.Number `json:"seq"`
	}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return "", 0, reply.Bad(wrong.Field, "is a %s", wrong.Value)
		}
		return "", 0, reply.Bad("body", `must be {"writer":"w1","seq":7}: %s`, err)
	}
	if request.Writer == nil || *request.Writer == "" || len(*request.Writer) > maxWriter {
		return "", 0, reply.Bad("writer", "must be a text of 1 to %d bytes", maxWriter)
	}
	if request.Seq == nil {
		return "", 0, reply.Bad("seq", "is missing")
	}
	seq, err = request.Seq.Int64()
	if err != nil || seq < 0 {
		return "", 0, reply.Bad("seq", "%q is not a whole number from 0", request.Seq.String())
	}
	return *request.Writer, seq, nil
}

// List serves GET /of/ledger?writer=: a writer's entries in order of seq, as an array.
func (l *Ledger) List(w http.ResponseWriter, r *http.Request) {
	writer := r.URL.Query().Get("writer")
	if writer == "" || len(writer) > maxWriter {
		reply.Error(w, r, l.Log, reply.Bad("writer", "must be a text of 1 to %d bytes", maxWriter))
		return
	}
	var entries []Entry
	var side database.State
	err := l.Database.Read(r.Context(), func(ctx context.Context, tx pgx.Tx, state database.State) error {
		rows, err := tx.Query(ctx, "SELECT writer, seq, region, colour, at, attempts FROM of_ledger WHERE writer = $1 ORDER BY seq", writer)
		if err != nil {
			return fmt.Errorf("list ledger: %w", err)
		}
		side = state
		entries, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Entry])
		if err != nil {
			return fmt.Errorf("list ledger: %w", err)
		}
		return nil
	})
	if err != nil {
		reply.Error(w, r, l.Log, err)
		return
	}
	if entries == nil {
		entries = []Entry{}
	}
	w.Header().Set("X-Ofitec-Database", string(side))
	reply.JSON(w, http.StatusOK, entries)
}
