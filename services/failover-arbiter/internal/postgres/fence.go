package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Admit lets applications log in, through the region's proxy. Nobody is let in before the fence is prepared that puts them out on a full disk.
func (s *Server) Admit(ctx context.Context) error {
	if err := s.admit(); err != nil {
		return err
	}
	if err := s.reload(ctx); err != nil {
		return fmt.Errorf("let applications in: %w", err)
	}
	return nil
}

// Bar puts the fenced rules in the place of those in force, without the server, which reads them at its next start or reload.
func (s *Server) Bar() error {
	if err := s.install(fencedRules); err != nil {
		return fmt.Errorf("keep applications out: %w", err)
	}
	return nil
}

// Fenced is what a fence has shown.
type Fenced struct {
	Counts  []int // of sessions, one after the other
	Refused bool  // a new login was turned away before the first count; else it could not be tried
}

// Fence keeps applications out, has a new login turned away, ends their sessions, and counts until there were none twice, a pause apart. The pause is PostgreSQL's
// authentication_timeout, so that a login that had begun under the old rules has ended or is counted; the trial comes first because a server takes its time to read new
// rules. All sessions must have ended within the given time; only the proof of it, the second count, may take until the context ends. It gives the counts, and an error
// when either was missed; whoever calls it then stops the server. Sessions are terminated, never cancelled: a cancelled wait for a standby returns success to its client.
func (s *Server) Fence(ctx context.Context, within, pause time.Duration, refuses func(context.Context) error) (f Fenced, err error) {
	ending, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := s.Bar(); err != nil {
		return f, err
	}
	conn, err := pgx.ConnectConfig(ending, s.config(maintenance, "fence"))
	if err != nil {
		return f, fmt.Errorf("fence: %w", err)
	}
	defer func() { _ = conn.PgConn().Conn().Close() }()
	if _, err := conn.Exec(ending, "SELECT pg_reload_conf()"); err != nil {
		return f, fmt.Errorf("fence: %w", err)
	}
	if f.Refused, err = turnedAway(ending, within/4, refuses); err != nil {
		return f, fmt.Errorf("fence: %w", err)
	}
	f.Counts, err = emptied(ctx, ending, pause, func(ctx context.Context) (int, error) { return terminate(ctx, conn) })
	return f, err
}

// turnedAway tries a login until the rules turn it away. A door that cannot be tried, each time within a limit, proves nothing and holds nothing up.
func turnedAway(ctx context.Context, limit time.Duration, refuses func(context.Context) error) (bool, error) {
	for {
		trial, cancel := context.WithTimeout(ctx, limit)
		err := refuses(trial)
		cancel()
		if err == nil || !errors.Is(err, ErrLetIn) {
			return err == nil, nil
		}
		if late := sleep(ctx, soon); late != nil {
			return false, err
		}
	}
}

// soon is how long ended sessions are given before they are counted again.
const soon = 50 * time.Millisecond

// emptied counts until there were no sessions twice, a pause apart. While the last count was above zero, or there was none yet, it ends with the time in which
// sessions must have ended; else with the context.
func emptied(ctx, ending context.Context, pause time.Duration, terminate func(context.Context) (int, error)) (counts []int, err error) {
	patience := ending
	for {
		count, err := terminate(patience)
		if err != nil {
			return counts, fmt.Errorf("fence: %w", err)
		}
		if counts = append(counts, count); len(counts) > 100 {
			counts = counts[1:]
		}
		n := len(counts)
		if n >= 2 && counts[n-1] == 0 && counts[n-2] == 0 {
			return counts, nil
		}
		wait := pause
		patience = ctx
		if count > 0 {
			wait = soon
			patience = ending
		}
		if err := sleep(patience, wait); err != nil {
			return counts, fmt.Errorf("fence: %d sessions are left: %w", count, err)
		}
	}
}

// terminate ends all sessions that could commit and counts them. Observers cannot; superusers, by the Unix socket, are the arbiter and its supervisor. A session
// whose role was dropped has no name any more, but can commit.
func terminate(ctx context.Context, conn *pgx.Conn) (count int, err error) {
	err = conn.QueryRow(ctx, `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
AND NOT coalesce(r.rolsuper OR r.rolreplication, false)
AND coalesce(a.usename, '') NOT IN ('ofitec_probe', 'ofitec_exporter', 'ofitec_rewind')`).Scan(&count)
	return count, err
}

func (s *Server) reload(ctx context.Context) error {
	return s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SELECT pg_reload_conf()")
		return err
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
