package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ofitec/ofitec/events"
)

// WitnessName is the standby that commits wait for where the arbiter is a witness (protocol.md, Fence 6).
const WitnessName = "mandate"

// Witness attaches to the region's own primary as a standby that keeps nothing. It confirms WAL only while the mandate is valid: with WitnessName among the names that
// commits wait for, none is acknowledged without a mandate, also when the whole region was frozen and wakes up. What it had confirmed, and nobody had answered yet,
// when the region froze, is acknowledged after.
type Witness struct {
	server   *Server
	valid    func() bool // asks the clocks, before each confirmation
	log      *slog.Logger
	attached atomic.Bool
}

// NewWitness makes a witness of a server; nothing happens before Run.
func NewWitness(server *Server, valid func() bool, log *slog.Logger) *Witness {
	return &Witness{server: server, valid: valid, log: log}
}

// Attached says whether commits are confirmed at this moment.
func (w *Witness) Attached() bool { return w.attached.Load() }

// How often the validity is looked at while nothing is written, and how soon a connection that broke is tried again.
const (
	witnessLook  = 50 * time.Millisecond
	witnessRetry = 100 * time.Millisecond
)

// Run attaches while the mandate is valid, until ctx ends.
func (w *Witness) Run(ctx context.Context) error {
	failing := false
	for ctx.Err() == nil {
		if !w.valid() {
			_ = sleep(ctx, witnessLook) // ctx is looked at above
			continue
		}
		err := w.witness(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			w.log.Info("witness of commits", "attached", false, "error", err)
		}
		_ = sleep(ctx, witnessRetry) // as above
	}
	return nil
}

// witness is one connection. It is closed as soon as the mandate is not valid any more: a server that is to stop would wait for its standby.
func (w *Witness) witness(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for w.valid() && sleep(ctx, witnessLook) == nil { //nolint:revive // it only waits
		}
	}()
	conn, at, err := w.attach(ctx)
	if err != nil {
		return fmt.Errorf("attach to PostgreSQL as a witness: %w", err)
	}
	defer func() {
		w.attached.Store(false)
		_ = conn.Conn().Close()
	}()
	for {
		message, err := conn.ReceiveMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("witness commits: %w", err)
		}
		copied, ok := message.(*pgproto3.CopyData)
		if !ok {
			return fmt.Errorf("witness commits: the server ends the stream with %T", message)
		}
		at = max(at, reached(copied.Data))
		if !w.valid() {
			return nil
		}
		if err := confirm(conn, at); err != nil {
			return fmt.Errorf("confirm commits: %w", err)
		}
		if !w.attached.Swap(true) {
			w.log.Info("witness of commits", "attached", true, "at", at)
		}
	}
}

// attach begins to stream where the server has flushed to.
func (w *Witness) attach(ctx context.Context) (*pgconn.PgConn, events.LSN, error) {
	config, err := pgconn.ParseConfig(fmt.Sprintf("host='%s' port=%d user=postgres dbname=replication sslmode=disable application_name=%s", w.server.socketDir, w.server.port, WitnessName))
	if err != nil {
		return nil, 0, err
	}
	config.RuntimeParams["replication"] = "true"
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, 0, err
	}
	identity, err := command(ctx, conn, "IDENTIFY_SYSTEM")
	var at events.LSN
	if err == nil {
		at, err = events.ParseLSN(identity[2])
	}
	if err == nil {
		conn.Frontend().SendQuery(&pgproto3.Query{String: "START_REPLICATION PHYSICAL " + identity[2]})
		err = conn.Frontend().Flush()
	}
	for err == nil {
		var message pgproto3.BackendMessage
		if message, err = conn.ReceiveMessage(ctx); err != nil {
			break
		}
		switch m := message.(type) {
		case *pgproto3.CopyBothResponse:
			return conn, at, nil
		case *pgproto3.ErrorResponse:
			err = errors.New(m.Message)
		}
	}
	_ = conn.Conn().Close()
	return nil, 0, err
}

// The messages of streaming replication.
const (
	walData      = 'w' // first position, last position, time, WAL
	statusUpdate = 'r' // written, flushed, applied, time, whether to answer
	walHeader    = 1 + 3*8
)

// reached is the position up to which a message brings the WAL; 0 when it brings none.
func reached(message []byte) events.LSN {
	if len(message) < walHeader || message[0] != walData {
		return 0
	}
	return events.LSN(binary.BigEndian.Uint64(message[1:]) + uint64(len(message)-walHeader))
}

// epoch2000 is where PostgreSQL counts microseconds from.
var epoch2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// confirm says that everything up to a position is flushed here.
func confirm(conn *pgconn.PgConn, at events.LSN) error {
	message := []byte{statusUpdate}
	for range 3 {
		message = binary.BigEndian.AppendUint64(message, uint64(at))
	}
	message = binary.BigEndian.AppendUint64(message, uint64(time.Since(epoch2000).Microseconds()))
	conn.Frontend().Send(&pgproto3.CopyData{Data: append(message, 0)})
	return conn.Frontend().Flush()
}
