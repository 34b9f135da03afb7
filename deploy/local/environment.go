package local

import (
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// environments is what each service reads beside the settings that all share; a service without an entry needs nothing else.
var environments = map[string]func(s *Stack, r layout.Region) []string{
	"failover-arbiter": (*Stack).arbiterEnv,
	"rotator":          (*Stack).rotatorEnv,
}

// arbiterEnv are the hands of a data region's arbiter; region c has none.
func (s *Stack) arbiterEnv(r layout.Region) []string {
	env := []string{"OFITEC_FIRST_ACTIVE=a", "OFITEC_TIMING=local"}
	if !r.HoldsData() {
		return env
	}
	return append(env,
		"OFITEC_DATABASE_PROXY_SOCKET="+s.layout.DatabaseProxySocket(r),
		"OFITEC_POSTGRES_SOCKET_DIR="+s.layout.PostgresSocketDir(r),
		"OFITEC_POSTGRES_CONF_DIR="+s.layout.PostgresConfDir(r),
		"OFITEC_SUPERVISOR_SOCKET="+s.layout.SupervisorSocket(r),
	)
}

// rotatorEnv lists both regions' proxies: the one that leads to the writable side is used, whichever it is.
func (s *Stack) rotatorEnv(layout.Region) []string {
	return []string{
		"OFITEC_DATABASE_PROXIES=" + s.dataRegions(layout.PortDatabaseProxy),
		"OFITEC_DATABASE_READ_PROXIES=" + s.dataRegions(layout.PortReadProxy),
	}
}

// dataRegions is a comma list of a port's address in the regions that hold data.
func (s *Stack) dataRegions(port int) string {
	return s.layout.Addressing.Addr(layout.A, port) + "," + s.layout.Addressing.Addr(layout.B, port)
}
