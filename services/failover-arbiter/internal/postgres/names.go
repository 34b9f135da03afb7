package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/events"
)

// namesFile is read by the server after postgresql.conf (package deploy). It stands outside PGDATA: a server that starts again waits for the same.
const namesFile = "runtime.conf"

// WaitFor lets commits wait for standbys by their names, in the syntax of synchronous_standby_names; empty: for nobody. It says whether that is a change.
func (s *Server) WaitFor(ctx context.Context, names string) (changed bool, err error) {
	target, content := filepath.Join(s.confDir, namesFile), []byte("synchronous_standby_names = '"+names+"'\n")
	before, err := os.ReadFile(target)
	switch {
	case err == nil && bytes.Equal(before, content):
		return false, nil
	case err == nil || errors.Is(err, fs.ErrNotExist):
		err = s.replace(namesFile, content)
	}
	if err == nil {
		err = s.reload(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("let commits wait for %q: %w", names, err)
	}
	return true, nil
}

// Follower is a standby as its primary sees it.
type Follower struct {
	Streaming   bool
	Synchronous bool // commits wait for it
	Flushed     events.LSN
}

// Follower finds a standby by its name; one that is not connected is the zero value.
func (s *Server) Follower(ctx context.Context, name string) (Follower, error) {
	var f Follower
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		var lsn int64
		err := conn.QueryRow(ctx, `SELECT state = 'streaming', sync_state IN ('sync', 'quorum'), (coalesce(flush_lsn, '0/0') - '0/0'::pg_lsn)::bigint
FROM pg_stat_replication WHERE application_name = $1 ORDER BY flush_lsn DESC NULLS LAST LIMIT 1`, name).Scan(&f.Streaming, &f.Synchronous, &lsn)
		f.Flushed = events.LSN(lsn)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return Follower{}, fmt.Errorf("look at standby %s: %w", name, err)
	}
	return f, nil
}
