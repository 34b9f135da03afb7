// Package postgres looks at a region's database as ofitec_probe, past the proxy and the fence: who logs in there can commit nothing.
package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
	"github.com/ofitec/ofitec/services/health-probe/internal/reach"
)

// Settings say where a database is and who looks at it.
type Settings struct {
	Addr, User, Database string
	PasswordFile         string // read at each login: it may be renewed
	TLS                  *tls.Config
	// LoginEvery is how long a session is used: a login costs both sides a handshake and a hash, and proves that others can come in.
	LoginEvery time.Duration
	Region     events.Region // the observer's, for the database's list of sessions
}

// Server is one region's database. Looks follow each other; a second one waits for the first.
type Server struct {
	settings Settings

	mu     sync.Mutex
	conn   *pgx.Conn
	opened time.Time
}

// New names a server; nothing is connected yet.
func New(s Settings) *Server { return &Server{settings: s} }

// Close ends the session.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

// A standby says what it has and what it has replayed, a primary what it has flushed. What a standby was fed from the archive is replayed and was never received; when its
// receiver is gone, its timeline is the newest of which it has WAL, for the control file keeps the one before until the next restartpoint. The heartbeat's row is the newest
// that the database shows.
const lookSQL = `SELECT pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN coalesce(r.status = 'streaming', false)
       ELSE EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'region\_%' AND application_name NOT LIKE '%\_clone') END,
  CASE WHEN pg_is_in_recovery() THEN coalesce(r.received_tli, greatest((SELECT timeline_id FROM pg_control_checkpoint()),
         (SELECT max(('x' || left(name, 8))::bit(32)::int) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$')))
       ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END,
  CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn()::text END,
  CASE WHEN pg_is_in_recovery() THEN greatest(r.flushed_lsn, pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::text END,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END,
  h.number, h.at, clock_timestamp()
FROM (SELECT) one LEFT JOIN pg_stat_wal_receiver r ON true LEFT JOIN ofitec.heartbeat h ON true`

// Look asks once, until ctx ends. A session that turns out to be broken is replaced within the same look: a restart is not an absence.
func (s *Server) Look(ctx context.Context) observation.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && time.Since(s.opened) < s.settings.LoginEvery {
		database, err := s.query(ctx)
		if err == nil {
			return told(database)
		}
		s.drop()
		if ctx.Err() != nil {
			return blame(err)
		}
	}
	s.drop()
	if err := s.login(ctx); err != nil {
		return blame(err)
	}
	database, err := s.query(ctx)
	if err != nil {
		s.drop()
		return blame(err)
	}
	return told(database)
}

func told(database *observation.Database) observation.Result {
	result := observation.OK()
	result.Database = database
	return result
}

func (s *Server) login(ctx context.Context) error {
	host, port, err := net.SplitHostPort(s.settings.Addr)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return err
	}
	// A file that cannot be read is no reason not to knock: a database that is gone is gone, one that is there will refuse.
	password, _ := os.ReadFile(s.settings.PasswordFile)
	config.Host, config.Port, config.User, config.Database = host, uint16(number), s.settings.User, s.settings.Database
	config.Password, config.Fallbacks = strings.TrimSpace(string(password)), nil
	if s.settings.TLS != nil {
		config.TLSConfig = s.settings.TLS.Clone()
		config.TLSConfig.ServerName = host
	}
	config.RuntimeParams = map[string]string{"application_name": "health-probe." + string(s.settings.Region)}
	config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	s.conn, s.opened = conn, time.Now()
	return nil
}

func (s *Server) query(ctx context.Context) (*observation.Database, error) {
	d := &observation.Database{}
	var streaming bool
	var flushed, received, replayed *string
	var said time.Time
	asked := time.Now()
	err := s.conn.QueryRow(ctx, lookSQL).Scan(&d.InRecovery, &streaming, &d.Timeline, &flushed, &received, &replayed, &d.HeartbeatNumber, &d.HeartbeatAt, &said)
	if err != nil {
		return nil, err
	}
	d.ClockOffset = ahead(said, asked, time.Now())
	d.Streaming = &streaming
	if d.HeartbeatAt != nil {
		at := d.HeartbeatAt.UTC()
		d.HeartbeatAt = &at
	}
	for _, position := range []struct {
		text *string
		to   **events.LSN
	}{{flushed, &d.FlushLSN}, {received, &d.ReceivedLSN}, {replayed, &d.ReplayedLSN}} {
		if position.text == nil {
			continue
		}
		lsn, err := events.ParseLSN(*position.text)
		if err != nil {
			return nil, err
		}
		*position.to = &lsn
	}
	return d, nil
}

// ahead is how far a clock that was read between two moments is before the one that tells them.
func ahead(said, asked, answered time.Time) time.Duration {
	return said.Sub(asked.Add(answered.Sub(asked) / 2))
}

// drop closes without the farewell, which a hanging server would not take.
func (s *Server) drop() {
	if s.conn != nil {
		_ = s.conn.PgConn().Conn().Close()
		s.conn = nil
	}
}

// blame tells a database that cannot serve from one that refuses this observer: a wrong password says nothing about it.
func blame(err error) observation.Result {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		text := fmt.Sprintf("answers %s: %s", said.Code, reach.Words(errors.New(said.Message)))
		switch {
		case strings.HasPrefix(said.Code, "57P"), strings.HasPrefix(said.Code, "58"), strings.HasPrefix(said.Code, "XX"):
			return observation.Failed(text) // starting, stopping, crashed; its disk; its own state
		default:
			return observation.Unknown(text)
		}
	}
	var verification *tls.CertificateVerificationError
	var host x509.HostnameError
	var alert tls.AlertError
	if errors.As(err, &verification) || errors.As(err, &host) || errors.As(err, &alert) {
		return observation.Unknown("its certificate: " + reach.Words(err))
	}
	result := reach.Blame(err)
	if cut, _, found := strings.Cut(result.Reason, "failed to connect to `"); found {
		_, rest, _ := strings.Cut(result.Reason, "`: ")
		result.Reason = cut + rest
	}
	return result
}
