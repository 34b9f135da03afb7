package main

import (
	"testing"

	"github.com/ofitec/ofitec/deploy/postgrestest"
)

// startStandby is a second server that streams from the first; or that has what it had at this moment, and nothing more.
func startStandby(t *testing.T, of *postgrestest.Database, streams bool) *postgrestest.Database {
	t.Helper()
	if streams {
		of.Super(t, "postgres", "SELECT pg_create_physical_replication_slot('region_b')") // without it the standby is refused
	}
	s := postgrestest.New(t, "region_b", &of.TLS)
	s.Upstream = of.Listen
	s.Configure(t, true)
	s.Run(t, "pg_basebackup", "-h", of.SocketDir, "-p", of.Port, "-U", "postgres", "-D", s.DataDir, "-R", "-X", "stream", "-c", "fast", "--no-sync")
	s.Start(t)
	return s
}
