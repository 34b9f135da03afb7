// Package postgres is what the rotator does in the database: try a new user, and see an old one out.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/chassis/config"
)

// Owner is the role that owns everything of the application's; its users of an hour are members of it.
const Owner = "odoo_owner"

// Server is how to reach the database that takes writes, through the proxies of all regions, and the standbys.
type Server struct {
	Proxies     []string // host:port; the one that leads to a writable server is used
	ReadProxies []string // host:port; each leads to a standby, or nowhere
	Database    string
	CAFile      string // authority of the servers; without one the connection is not encrypted, which only a test does
}

// connect logs in. The password is in no text that an error could show.
func (s Server) connect(ctx context.Context, hosts []string, writable bool, user string, password config.Secret) (*pgx.Conn, error) {
	wanted := "any"
	if writable {
		wanted = "read-write"
	}
	return s.open(ctx, hosts, wanted, user, password)
}

// open logs in to the first server that is as wanted, in libpq's words.
func (s Server) open(ctx context.Context, hosts []string, wanted, user string, password config.Secret) (*pgx.Conn, error) {
	options := url.Values{"connect_timeout": {"2"}, "sslmode": {"disable"}, "application_name": {"ofitec-rotator"}, "target_session_attrs": {wanted}}
	if s.CAFile != "" {
		options.Set("sslmode", "verify-full")
		options.Set("sslrootcert", s.CAFile)
	}
	settings, err := pgx.ParseConfig("postgres://" + strings.Join(hosts, ",") + "/" + s.Database + "?" + options.Encode())
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	settings.User, settings.Password = user, password.Reveal()
	conn, err := pgx.ConnectConfig(ctx, settings)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return conn, nil
}

// end closes a session, also when the caller's time is over.
func end(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the session ends either way
}

// Try logs in as a new user and does what the application does: it is the owner role, and it can change the schema, which is rolled back. A problem is the user's
// own; an error is the way to it, and worth another attempt.
func (s Server) Try(ctx context.Context, user string, password config.Secret) (problem string, err error) {
	conn, err := s.connect(ctx, s.Proxies, true, user, password)
	if err != nil {
		return judge(err)
	}
	defer end(ctx, conn)
	var role string
	if err := conn.QueryRow(ctx, "SELECT current_user").Scan(&role); err != nil {
		return judge(fmt.Errorf("ask who the new user is: %w", err))
	}
	if role != Owner {
		return fmt.Sprintf("current_user is %s, want %s: the role's users lack the membership", role, Owner), nil
	}
	change := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "CREATE TABLE public.ofitec_rotation_test (n integer)"); err != nil {
			return fmt.Errorf("make a table as the new user: %w", err)
		}
		var maker string
		if err := tx.QueryRow(ctx, "SELECT tableowner FROM pg_catalog.pg_tables WHERE schemaname = 'public' AND tablename = 'ofitec_rotation_test'").Scan(&maker); err != nil {
			return fmt.Errorf("ask whose the new table is: %w", err)
		}
		if maker != Owner {
			return errNotOwner
		}
		return errUndo
	})
	switch {
	case errors.Is(change, errUndo):
		return "", nil
	case errors.Is(change, errNotOwner):
		return "what the new user makes does not belong to " + Owner, nil
	case change == nil:
		return "", errors.New("the test's transaction was committed")
	}
	return judge(change)
}

var (
	errUndo     = errors.New("the test is rolled back")
	errNotOwner = errors.New("not the owner's")
)

// judge tells a user that is refused from a server that is away.
func judge(err error) (string, error) {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (strings.HasPrefix(refused.Code, "28") || strings.HasPrefix(refused.Code, "42")) {
		return err.Error(), nil
	}
	return "", err
}
