package postgres

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/chassis/config"
)

// standbyWithin is how long a standby may take to replay what the primary has, or a new password.
const standbyWithin = 5 * time.Second

// ErrNoStandby is wrapped when no standby is as far as the primary.
var ErrNoStandby = errors.New("no standby is as far as the primary")

// Session is a login of the engine's own user to the server that takes writes.
type Session struct {
	server   Server
	user     string
	password config.Secret
	conn     *pgx.Conn
}

// Open logs in where writes are taken. A problem is a refused login.
func (s Server) Open(ctx context.Context, user string, password config.Secret) (session *Session, problem string, err error) {
	conn, err := s.connect(ctx, s.Proxies, true, user, password)
	if err != nil {
		problem, err = judge(err)
		return nil, problem, err
	}
	return &Session{s, user, password, conn}, "", nil
}

// Opens says whether a password is in force.
func (s Server) Opens(ctx context.Context, user string, password config.Secret) (bool, error) {
	session, problem, err := s.Open(ctx, user, password)
	if session != nil {
		session.Close(ctx)
		return true, nil
	}
	return err == nil && problem == "", err
}

// Close ends the session.
func (s *Session) Close(ctx context.Context) { end(ctx, s.conn) }

// AwaitStandby returns when a standby has replayed what the primary had when it was called. Without read-only proxies there is no standby to wait for.
func (s *Session) AwaitStandby(ctx context.Context) error {
	var position string
	if err := s.conn.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text").Scan(&position); err != nil {
		return fmt.Errorf("ask for the primary's position: %w", err)
	}
	return s.onAStandby(ctx, s.password, func(ctx context.Context, conn *pgx.Conn) (past bool, err error) {
		err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery() AND coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, false)", position).Scan(&past)
		return past, err
	})
}

// AwaitLogin returns when a standby lets the user in with a password, so that the change of it has been replayed there.
func (s *Session) AwaitLogin(ctx context.Context, password config.Secret) error {
	return s.onAStandby(ctx, password, func(ctx context.Context, conn *pgx.Conn) (standby bool, err error) {
		err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby)
		return standby, err
	})
}

// onAStandby tries each read-only proxy until one is as asked, or the time is over.
func (s *Session) onAStandby(ctx context.Context, password config.Secret, holds func(context.Context, *pgx.Conn) (bool, error)) error {
	if len(s.server.ReadProxies) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, standbyWithin)
	defer cancel()
	last := error(nil)
	for {
		for _, proxy := range s.server.ReadProxies {
			conn, err := s.server.connect(ctx, []string{proxy}, false, s.user, password)
			if err != nil {
				last = err
				continue
			}
			past, err := holds(ctx, conn)
			end(ctx, conn)
			if err == nil && past {
				return nil
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ErrNoStandby, last)
		case <-time.After(zeroPause):
		}
	}
}

// SetPassword changes the user's own password. What stands in the statement is what the server would keep: the password itself goes over no wire and into no log.
func (s *Session) SetPassword(ctx context.Context, password config.Secret) error {
	verifier, err := scram(password)
	if err != nil {
		return err
	}
	if _, err := s.conn.Exec(ctx, "ALTER ROLE "+pgx.Identifier{s.user}.Sanitize()+" PASSWORD '"+verifier+"'"); err != nil {
		return fmt.Errorf("change the password of %s: %w", s.user, err)
	}
	return nil
}

// scramRounds is PostgreSQL's own.
const scramRounds = 4096

// scram is the SCRAM-SHA-256 verifier of RFC 5803, as PostgreSQL keeps it. It needs letters of ASCII only.
func scram(password config.Secret) (string, error) {
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a verifier: %w", err)
	}
	for _, letter := range password.Reveal() {
		if letter < ' ' || letter > '~' {
			return "", errors.New("make a verifier: the password policy makes letters beyond ASCII")
		}
	}
	salted, err := pbkdf2.Key(sha256.New, password.Reveal(), salt, scramRounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("make a verifier: %w", err)
	}
	sum := func(key []byte, text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(sum(salted, "Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramRounds, text(salt), text(stored[:]), text(sum(salted, "Server Key"))), nil
}
