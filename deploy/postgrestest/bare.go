package postgrestest

import (
	"os"
	"testing"
)

// Bare starts a server of PostgreSQL's own configuration, open without a password on the loopback, and gives the DSN of its superuser.
// It is for tests to which roles, TLS and the fence do not matter.
func Bare(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real PostgreSQL")
	}
	if _, err := os.Stat(BinDir + "/initdb"); err != nil {
		t.Skip("PostgreSQL 15 is not installed: this is tested where it is")
	}
	d := &Database{Account: account(t)}
	d.Dir = d.folder(t)
	d.DataDir = d.Dir + "/data"
	address := FreeAddr(t)
	port := address[len("127.0.0.1:"):]
	d.Run(t, "initdb", "-D", d.DataDir, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
	options := "-c listen_addresses=127.0.0.1 -c port=" + port + " -c unix_socket_directories=" + d.Dir + " -c fsync=off -c shared_buffers=16MB"
	d.Run(t, "pg_ctl", "-w", "-D", d.DataDir, "-l", d.Dir+"/log", "-o", options, "start")
	t.Cleanup(func() { _ = d.Command("pg_ctl", "-D", d.DataDir, "-m", "immediate", "stop").Run() })
	return "postgres://postgres@" + address + "/postgres?sslmode=disable"
}
