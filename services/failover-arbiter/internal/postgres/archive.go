package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Archived is how far a server has archived its WAL.
type Archived struct {
	Timeline int
	Waiting  int        // whole segments that are not archived yet
	Last     *time.Time // when one was; nil: none since the server's statistics begin
	Failures int64      // since the server's statistics begin
}

// Archived says how far it is.
func (s *Server) Archived(ctx context.Context) (Archived, error) {
	var a Archived
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int,
  (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'), last_archived_time, failed_count FROM pg_stat_archiver`).Scan(&a.Timeline, &a.Waiting, &a.Last, &a.Failures)
	})
	if err != nil {
		return Archived{}, fmt.Errorf("read how far WAL is archived: %w", err)
	}
	return a, nil
}

// Reload lets the server read its configuration again.
func (s *Server) Reload(ctx context.Context) error {
	if err := s.reload(ctx); err != nil {
		return fmt.Errorf("reload PostgreSQL's configuration: %w", err)
	}
	return nil
}
