package database

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/settings"
)

func TestADatabaseThatIsAwayIsToldFromAMistake(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		away bool
	}{
		{"a broken connection", fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		{"a request that took too long", context.DeadlineExceeded, true},
		{"a client that went away", context.Canceled, false},
		{"a read-only server", &pgconn.PgError{Code: "25006"}, true},
		{"a server that shuts down", fmt.Errorf("append: %w", &pgconn.PgError{Code: "57P01"}), true},
		{"a fence that refuses logins", &pgconn.PgError{Code: "28000"}, true},
		{"tables that are not made yet", &pgconn.PgError{Code: "42P01"}, true},
		{"a mistake in SQL", &pgconn.PgError{Code: "42601"}, false},
		{"a missing right", &pgconn.PgError{Code: "42501"}, false},
		{"a value that does not fit", fmt.Errorf("list: %w", pgx.ScanArgError{Err: io.EOF}), false},
	} {
		if IsAway(c.err) != c.away {
			t.Errorf("%s: away is %t", c.name, !c.away)
		}
	}
}

func TestNothingOfThePasswordIsInAnErrorAndQuotesSurvive(t *testing.T) {
	s := settings.Settings{Colour: "blue", ConnectTimeout: time.Second, Postgres: settings.Postgres{
		Host: "127.0.0.11", User: `o'brien`, Database: "ofitec_prod", Password: `a'b\c d`, SSLMode: "disable"}}
	c, err := poolConfig(s, 5432, 3, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if c.ConnConfig.Password != `a'b\c d` || c.ConnConfig.User != `o'brien` || c.MaxConns != 3 || len(c.ConnConfig.Fallbacks) != 0 {
		t.Errorf("the driver was told user %q, %d connections, %d fallbacks", c.ConnConfig.User, c.MaxConns, len(c.ConnConfig.Fallbacks))
	}
	s.Postgres.SSLMode, s.Postgres.SSLRootCert = "verify-full", "/nowhere/ca.crt"
	if _, err := poolConfig(s, 5432, 3, time.Second); err == nil {
		t.Error("a CA certificate that is not there was taken")
	}
}
