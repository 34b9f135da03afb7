package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/events"
)

// Withdraw keeps applications out and ends the sessions of readers, once: nobody can commit on a standby, so nothing has to be proven.
func (s *Server) Withdraw(ctx context.Context) error {
	if err := s.Bar(); err != nil {
		return err
	}
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT pg_reload_conf()"); err != nil {
			return err
		}
		_, err := terminate(ctx, conn)
		return err
	})
	if err != nil {
		return fmt.Errorf("end readers' sessions: %w", err)
	}
	return nil
}

// Promote makes a primary of a standby and waits for it. All WAL that was received is replayed before. Whoever calls it has made sure that the server is a standby;
// after an error nobody knows, and Look tells.
func (s *Server) Promote(ctx context.Context, within time.Duration) error {
	seconds := max(int(within/time.Second), 1)
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		var done bool
		err := conn.QueryRow(ctx, "SELECT pg_promote(true, $1)", seconds).Scan(&done)
		if err == nil && !done {
			err = fmt.Errorf("it is still a standby after %d s", seconds)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("promote: %w", err)
	}
	return nil
}

// Branch is where a timeline begins. The first one begins nowhere: its LSN is 0.
type Branch struct {
	Timeline int
	LSN      events.LSN
}

// Branch says on which timeline a primary writes, and where that left the one before.
func (s *Server) Branch(ctx context.Context) (Branch, error) {
	var b Branch
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		var history *string
		err := conn.QueryRow(ctx, `SELECT tli, pg_read_file('pg_wal/' || lpad(to_hex(tli), 8, '0') || '.history', 0, 1 << 20, true)
FROM (SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int AS tli) now`).Scan(&b.Timeline, &history)
		if err != nil || history == nil {
			return err
		}
		b.LSN, err = fork(*history, 0)
		return err
	})
	if err != nil {
		return Branch{}, fmt.Errorf("read the timeline's beginning: %w", err)
	}
	return b, nil
}

// fork reads from a timeline's history where a timeline was left; of timeline 0 it gives where the newest was.
func fork(history string, timeline int) (events.LSN, error) {
	var last string
	for line := range strings.Lines(history) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(line, "#") {
			continue
		}
		if number, err := strconv.Atoi(fields[0]); err == nil && (timeline == 0 || number == timeline) {
			last = fields[1]
		}
	}
	if last == "" {
		return 0, fmt.Errorf("timeline %d is not in its history", timeline)
	}
	return events.ParseLSN(last)
}

// RenewSlot makes the slot that keeps the WAL for the other region from now on. One that is left from an earlier time is replaced, unless somebody uses it.
func (s *Server) RenewSlot(ctx context.Context, name string) error {
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active", name); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, `SELECT pg_create_physical_replication_slot($1, true) WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("make replication slot %s: %w", name, err)
	}
	return nil
}

// DropSlots drops the slots that a standby keeps from when it was a primary: nobody follows it, and they would keep its WAL for ever.
func (s *Server) DropSlots(ctx context.Context) error {
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
		return err
	})
	if err != nil {
		return fmt.Errorf("drop stale slots: %w", err)
	}
	return nil
}

// Checkpoint writes one, on a connection of its own: a long one holds nothing up.
func (s *Server) Checkpoint(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, s.config(maintenance, "checkpoint"))
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer func() { _ = conn.PgConn().Conn().Close() }()
	if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Pulse is the newest heartbeat that the database shows.
type Pulse struct {
	Number int64
	At     time.Time
}

// Pulse reads it; there is none before the first one was written.
func (s *Server) Pulse(ctx context.Context) (Pulse, error) {
	var p Pulse
	err := s.write.use(ctx, s.config(application, "heartbeat"), func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT number, at FROM ofitec.heartbeat").Scan(&p.Number, &p.At)
	})
	if err != nil {
		return Pulse{}, fmt.Errorf("read heartbeat: %w", err)
	}
	return p, nil
}
