package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
)

// password is that of all roles.
const password = postgrestest.Password

// database is a real PostgreSQL from deploy's files, fenced at its start and with all roles.
type database struct{ *postgrestest.Database }

func startDatabase(t *testing.T) *database {
	t.Helper()
	return &database{postgrestest.Start(t, false)}
}

// newDatabase makes the folders of a server; certificates are those of another one, or new.
func newDatabase(t *testing.T, name string, shared *deploy.TLSFiles) *database {
	t.Helper()
	return &database{postgrestest.New(t, name, shared)}
}

// environment is what an arbiter must know of the database.
func (d *database) environment() []string {
	upstream := d.Upstream
	if upstream == "" {
		upstream = "127.0.0.1:1" // there is no other region
	}
	return []string{
		"OFITEC_POSTGRES_SOCKET_DIR=" + d.SocketDir, "OFITEC_POSTGRES_PORT=" + d.Port, "OFITEC_POSTGRES_CONF_DIR=" + d.ConfDir,
		"OFITEC_POSTGRES_ADDRESS=" + d.Listen, "OFITEC_DATABASE_PROXY_SOURCE=" + d.ProxySource, "OFITEC_POSTGRES_BIN_DIR=" + postgrestest.BinDir,
		"OFITEC_POSTGRES_DATA_DIR=" + d.DataDir, "OFITEC_POSTGRES_UPSTREAM=" + upstream, "OFITEC_POSTGRES_PASS_FILE=" + d.Dir + "/pgpass",
		"OFITEC_POSTGRES_CA_FILE=" + d.TLS.CA,
	}
}

// login opens a session of the application at an address.
func (d *database) login(ctx context.Context, address string) (*pgx.Conn, error) {
	return d.loginAs(ctx, address, "odoo_bootstrap")
}

func (d *database) loginAs(ctx context.Context, address, role string) (*pgx.Conn, error) {
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=ofitec_prod sslmode=verify-full sslrootcert=%s", host, port, role, postgrestest.Password, d.TLS.CA))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
