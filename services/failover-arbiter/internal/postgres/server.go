// Package postgres is the arbiter's hand on its region's PostgreSQL, as the superuser over the Unix socket: it looks, writes heartbeats and the epoch, and lets
// applications in or puts them out (protocol.md, Fence).
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/events"
)

// The databases: the maintenance one exists from the first start, the other after the roles are made.
const (
	maintenance = "postgres"
	application = "ofitec_prod"
)

// Server is one region's PostgreSQL. It keeps one connection to look with and one to write with, and makes a fresh one for a fence, so that
// a hanging heartbeat holds nothing up. It is safe for concurrent use. Deadlines are the context's; a call that fails loses its connection, and the next one connects anew.
type Server struct {
	socketDir string
	port      uint16
	confDir   string

	look, write session

	log  *slog.Logger
	link func(from, to string) error
	told sync.Once // that a link is refused
}

// New names a server by the folder of its Unix socket, its port and the folder of its pg_hba files. It does not connect.
func New(socketDir string, port uint16, confDir string, log *slog.Logger) *Server {
	return &Server{socketDir: socketDir, port: port, confDir: confDir, log: log, link: os.Link}
}

// Close ends the connections; calls made later open them again.
func (s *Server) Close() {
	s.look.close()
	s.write.close()
}

// Condition is how the server was found.
type Condition struct {
	Standby   bool
	FlushLSN  events.LSN // of a standby: received
	Timeline  int
	Receiving bool // a standby whose walreceiver streams
	StartedAt time.Time
}

// What a standby was fed from the archive is replayed and was never received. A standby whose receiver is gone is on the newest timeline of which it has WAL: its control file keeps the one before until the next restartpoint.
const lookSQL = `SELECT pg_is_in_recovery(), pg_postmaster_start_time(),
  (CASE WHEN pg_is_in_recovery() THEN coalesce(greatest(r.flushed_lsn, pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0') ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn)::bigint,
  CASE WHEN pg_is_in_recovery() THEN coalesce(r.received_tli, greatest((SELECT timeline_id FROM pg_control_checkpoint()),
         (SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')))
       ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END,
  coalesce(r.status = 'streaming', false)
FROM (SELECT) one LEFT JOIN pg_stat_wal_receiver r ON true`

// Look says how the server is.
func (s *Server) Look(ctx context.Context) (Condition, error) {
	var c Condition
	err := s.look.use(ctx, s.config(maintenance, "look"), func(conn *pgx.Conn) error {
		var lsn int64
		err := conn.QueryRow(ctx, lookSQL).Scan(&c.Standby, &c.StartedAt, &lsn, &c.Timeline, &c.Receiving)
		c.FlushLSN = events.LSN(lsn)
		return err
	})
	if err != nil {
		return Condition{}, fmt.Errorf("look at PostgreSQL: %w", err)
	}
	return c, nil
}

// Beat is one heartbeat.
type Beat struct {
	At     time.Time
	Epoch  events.Epoch
	Region events.Region
}

// ErrEpochSeen says that the database has seen a higher epoch than the one that was to be written.
var ErrEpochSeen = errors.New("the database has seen a higher epoch")

// Heartbeat writes the one row and gives its new number. It waits for no standby.
func (s *Server) Heartbeat(ctx context.Context, b Beat) (number int64, err error) {
	err = s.write.use(ctx, s.config(application, "heartbeat"), func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `INSERT INTO ofitec.heartbeat AS h (id, number, at, epoch, region) VALUES (1, 1, $1, $2, $3)
ON CONFLICT (id) DO UPDATE SET number = h.number + 1, at = excluded.at, epoch = excluded.epoch, region = excluded.region WHERE h.epoch <= excluded.epoch
RETURNING number`, b.At, int64(b.Epoch), string(b.Region)).Scan(&number)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrEpochSeen
	}
	if err != nil {
		return 0, fmt.Errorf("write heartbeat: %w", err)
	}
	return number, nil
}

// Epoch is the highest one that the database has seen.
func (s *Server) Epoch(ctx context.Context) (events.Epoch, error) {
	var epoch int64
	err := s.write.use(ctx, s.config(application, "heartbeat"), func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT greatest((SELECT max(epoch) FROM ofitec.epoch), (SELECT max(epoch) FROM ofitec.heartbeat), 0)`).Scan(&epoch)
	})
	if err != nil {
		return 0, fmt.Errorf("read epoch of the database: %w", err)
	}
	return events.Epoch(epoch), nil
}

// RaiseEpoch records an epoch; a smaller one than was seen is ErrEpochSeen.
func (s *Server) RaiseEpoch(ctx context.Context, epoch events.Epoch) error {
	err := s.write.use(ctx, s.config(application, "heartbeat"), func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, `INSERT INTO ofitec.epoch AS e (id, epoch) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch WHERE e.epoch <= excluded.epoch`, int64(epoch))
		if err == nil && tag.RowsAffected() == 0 {
			err = ErrEpochSeen
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("record epoch %d in the database: %w", epoch, err)
	}
	return nil
}

// config connects as the superuser. Nothing that the arbiter writes waits for a standby: a heartbeat that hung under synchronous replication would say nothing.
func (s *Server) config(database, purpose string) *pgx.ConnConfig {
	config, err := pgx.ParseConfig(fmt.Sprintf("host='%s' port=%d user=postgres dbname=%s sslmode=disable", s.socketDir, s.port, database))
	if err != nil {
		panic("connect to " + s.socketDir + ": " + err.Error()) // the words are ours; Check of the service's configuration has seen the folder
	}
	config.RuntimeParams = map[string]string{
		"application_name": "failover-arbiter " + purpose, "synchronous_commit": "local", "lock_timeout": "2s", "client_min_messages": "error",
	}
	config.Fallbacks = nil
	return config
}

// session is a connection that is opened when it is needed and thrown away when anything went wrong on it.
type session struct {
	mu   sync.Mutex
	conn *pgx.Conn
}

func (s *session) use(ctx context.Context, config *pgx.ConnConfig, do func(*pgx.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || s.conn.IsClosed() {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	err := do(s.conn)
	var said *pgconn.PgError
	answered := errors.Is(err, pgx.ErrNoRows) || errors.Is(err, ErrEpochSeen) || errors.As(err, &said) && said.Severity == "ERROR"
	if err != nil && !answered {
		s.drop()
	}
	return err
}

// drop closes without the farewell, which a hanging server would not take.
func (s *session) drop() {
	if s.conn != nil {
		_ = s.conn.PgConn().Conn().Close()
		s.conn = nil
	}
}

func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}
