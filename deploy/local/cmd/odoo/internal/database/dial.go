package database

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/settings"
)

// A peer that vanished without a word is found within this time, whether data is on the way or not.
const (
	userTimeout       = 5 * time.Second
	keepAliveIdle     = 2 * time.Second
	keepAliveInterval = time.Second
	keepAliveCount    = 3
)

// poolConfig describes one pool; it connects to nothing. Everything that pgx would otherwise take from PG* variables, a
// service file or a password file is given here, because the environment file is the only configuration.
func poolConfig(s settings.Settings, port, size int, statementTimeout time.Duration) (*pgxpool.Config, error) {
	p := s.Postgres
	parts := []string{
		"host=" + quote(p.Host), fmt.Sprintf("port=%d", port), "user=" + quote(p.User), "password=" + quote(p.Password.Reveal()),
		"dbname=" + quote(p.Database), "sslmode=" + p.SSLMode, "passfile=/dev/null", "target_session_attrs=any",
		fmt.Sprintf("connect_timeout=%d", max(1, int(s.ConnectTimeout.Seconds()+0.999))),
		"application_name=" + quote("odoo-"+s.Colour),
	}
	if p.SSLMode != "disable" {
		parts = append(parts, "sslrootcert="+quote(p.SSLRootCert))
	}
	c, err := pgxpool.ParseConfig(strings.Join(parts, " "))
	if err != nil {
		// The error could quote the connection string.
		return nil, fmt.Errorf("configure database pool: host, database, user, TLS mode or CA certificate %q is not usable", p.SSLRootCert)
	}
	c.ConnConfig.ConnectTimeout = s.ConnectTimeout
	c.ConnConfig.DialFunc = dial(s.ConnectTimeout)
	c.ConnConfig.RuntimeParams["timezone"] = "UTC"
	c.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(statementTimeout.Milliseconds())
	c.MaxConns = int32(size)
	c.MaxConnIdleTime = 30 * time.Second
	c.MaxConnLifetime = 10 * time.Minute
	c.MaxConnLifetimeJitter = time.Minute
	c.HealthCheckPeriod = 5 * time.Second
	return c, nil
}

func quote(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

func dial(timeout time.Duration) func(context.Context, string, string) (net.Conn, error) {
	dialer := &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount},
		Control: func(network, _ string, raw syscall.RawConn) error {
			if !strings.HasPrefix(network, "tcp") {
				return nil
			}
			var failed error
			err := raw.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
			})
			if err != nil {
				return err
			}
			return failed
		},
	}
	return dialer.DialContext
}
