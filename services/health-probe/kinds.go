package main

import (
	"context"
	"crypto/tls"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/dns"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
	"github.com/ofitec/ofitec/services/health-probe/internal/postgres"
	"github.com/ofitec/ofitec/services/health-probe/internal/prometheus"
	"github.com/ofitec/ofitec/services/health-probe/internal/web"
)

// look is one check of one region, made until ctx ends. It is never called again before it has returned.
type look func(ctx context.Context) observation.Result

// kinds makes each kind's look at a target.
var kinds = map[observation.Kind]func(c *Config, identity *tls.Config, t target) look{
	observation.HTTP: func(_ *Config, _ *tls.Config, t target) look { return web.New(t.region, t.web).Look },
	observation.Postgres: func(c *Config, identity *tls.Config, t target) look {
		return postgres.New(postgres.Settings{
			Addr: t.postgres, User: c.PostgresUser, Database: c.PostgresDatabase, PasswordFile: c.PostgresPasswordFile, TLS: identity,
			LoginEvery: c.PostgresLoginEvery, Region: events.Region(c.Region),
		}).Look
	},
	observation.Prometheus: func(_ *Config, _ *tls.Config, t target) look { return prometheus.New(t.region, t.prometheus).Look },
	observation.DNS: func(c *Config, _ *tls.Config, _ target) look {
		return dns.New(c.DNSServer, c.DNSName, c.addresses()...).Look
	},
}
