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

// Why a trial of the door is no proof.
var (
	ErrNotRefused = errors.New("a new application login was not refused")
	ErrLetIn      = errors.New("the rules in force let it come as far as its password") // beside ErrNotRefused: these are not the fenced ones
)

// wrongPassword is the SQLSTATE of a login that the rules let through to its password.
const wrongPassword = "28P01"

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
		return fmt.Errorf("%w: %w", ErrNotRefused, ErrLetIn)
	}
	var said *pgconn.PgError
	switch {
	case !errors.As(err, &said):
	case said.Code == invalidAuthorization:
		return nil
	case said.Code == wrongPassword:
		return fmt.Errorf("%w: %w", ErrNotRefused, ErrLetIn)
	}
	return fmt.Errorf("%w: %w", ErrNotRefused, err)
}
