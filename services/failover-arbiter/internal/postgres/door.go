package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

// Door is where applications come in: PostgreSQL's address, as the region's database proxy reaches it from its own.
type Door struct {
	Address string // host:port
	Source  string // IP address of the proxy
}

// applicant is a role that may always come in while the door is open.
const applicant = "odoo_bootstrap"

// invalidAuthorization is the SQLSTATE of a login that pg_hba.conf refuses before it asks for anything. A wrong password has another one.
const invalidAuthorization = "28000"

// ErrNotRefused says that a login was not turned away by the rules.
var ErrNotRefused = errors.New("a new application login was not refused")

// Refuses tries to log in as an application does, without a password, and returns nil when the rules in force turned it away.
func (d Door) Refuses(ctx context.Context) error {
	host, port, err := net.SplitHostPort(d.Address)
	if err != nil {
		return fmt.Errorf("try a login: %w", err)
	}
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=%s dbname=%s sslmode=require application_name='failover-arbiter trial'", host, port, applicant, application))
	if err != nil {
		return fmt.Errorf("try a login: %w", err)
	}
	config.Password, config.Fallbacks = "", nil
	source := net.ParseIP(d.Source)
	if source == nil {
		return fmt.Errorf("try a login: the proxy's address %q is no IP address", d.Source)
	}
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}).DialContext
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err == nil {
		_ = conn.Conn().Close()
		return ErrNotRefused
	}
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == invalidAuthorization {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotRefused, err)
}
