package deploy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Postgres is one region's database server. All its files live in ConfDir, outside PGDATA: postgresql.conf,
// pg_hba.open.conf, pg_hba.fenced.conf, pg_ident.conf, and pg_hba.conf, which is a copy of the one that is in force.
// The first pg_hba.conf after a boot is the fenced one.
//
// Start it with `pg_ctl -D DataDir -o "-c config_file=ConfDir/postgresql.conf"`; SocketDir must exist with mode 0700.
// The key of TLS must belong to the server's user with mode 0600.
type Postgres struct {
	Name      string // cluster_name, application_name towards the upstream and name of this region's slot there: "region_a"
	Listen    string // region:5433, an IP address
	SocketDir string
	ConfDir   string
	DataDir   string
	TLS       TLSFiles

	// ProxySource is the address from which this region's database proxy comes, and nobody else.
	ProxySource string
	// Regions are the addresses (CIDR, or one address) from which probes and exporters of all regions come; on one
	// machine without namespaces that is 127.0.0.1, whatever the region.
	Regions []string
	// Peers are those from which the other data region's server replicates and rewinds.
	Peers []string
	// SuperuserOSUsers may be postgres over the Unix socket: arbiter and supervisor. "postgres" when empty.
	SuperuserOSUsers []string

	// Upstream is the other data region's host:5433, followed while standby.signal is there; empty on a lone server.
	Upstream string
	// PassFile is a libpq password file, mode 0600, with ofitec_replication's line for Upstream (see PassFileLine).
	PassFile string

	ClientCheck        time.Duration // C of protocol.md; 250 ms when zero
	SharedBuffers      string        // "32MB" when empty; a quarter of the memory in production
	MaxConnections     int           // 120 when zero; both regions must have the same
	WALKeepSize        string        // "256MB" when empty
	MaxSlotWALKeepSize string        // "2GB" when empty
	MaxWALSize         string        // "1GB" when empty
	// Archiving keeps each segment of WAL until the arbiter has let the server archive it: archive.conf beside this file has the command, while the region
	// holds the mandate. Both regions must have the same.
	Archiving      bool
	ArchiveTimeout time.Duration // after which a segment is archived that is not full; 60 s when zero
	// RestoreCommand is optional, and must end by itself: a standby waits for it, also when it is promoted. An arbiter that archives has its own in restore.conf, while a
	// standby has lost its place.
	RestoreCommand string
}

// RenderConf returns postgresql.conf.
func (s Postgres) RenderConf() ([]byte, error) { return s.render("postgres/postgresql.conf.tmpl") }

// RenderHBAOpen returns the rules under which applications may log in, through the proxy.
func (s Postgres) RenderHBAOpen() ([]byte, error) {
	return s.render("postgres/pg_hba.open.conf.tmpl", "postgres/pg_hba.always.conf.tmpl")
}

// RenderHBAFenced returns the rules under which nobody can log in who could commit, superusers on the socket aside.
func (s Postgres) RenderHBAFenced() ([]byte, error) {
	return s.render("postgres/pg_hba.fenced.conf.tmpl", "postgres/pg_hba.always.conf.tmpl")
}

// RenderIdent returns pg_ident.conf.
func (s Postgres) RenderIdent() ([]byte, error) { return s.render("postgres/pg_ident.conf.tmpl") }

func (s Postgres) render(templates ...string) ([]byte, error) {
	s = s.withDefaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	data := struct {
		Postgres
		ProxyCIDR string
	}{s, prefix(s.ProxySource)}
	data.Regions, data.Peers = prefixes(s.Regions), prefixes(s.Peers)
	var out []byte
	for _, name := range templates {
		part, err := render(name, data)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

func (s Postgres) withDefaults() Postgres {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&s.SharedBuffers, "32MB")
	set(&s.WALKeepSize, "256MB")
	set(&s.MaxSlotWALKeepSize, "2GB")
	set(&s.MaxWALSize, "1GB")
	if s.ClientCheck == 0 {
		s.ClientCheck = 250 * time.Millisecond
	}
	if s.ArchiveTimeout == 0 {
		s.ArchiveTimeout = time.Minute
	}
	if s.MaxConnections == 0 {
		s.MaxConnections = 120
	}
	if len(s.SuperuserOSUsers) == 0 {
		s.SuperuserOSUsers = []string{"postgres"}
	}
	return s
}

func (s Postgres) check() error {
	p := problems{of: "postgres"}
	if !slotName.MatchString(s.Name) {
		p.add("Name", "%q is not a slot name of lower case letters, digits and underscore", s.Name)
	}
	p.hostPort("Listen", s.Listen)
	p.path("SocketDir", s.SocketDir)
	p.socket("SocketDir", s.SocketDir+"/.s.PGSQL.65535.lock")
	p.path("ConfDir", s.ConfDir)
	p.path("DataDir", s.DataDir)
	if strings.HasPrefix(s.ConfDir+"/", s.DataDir+"/") {
		p.add("ConfDir", "%s is inside DataDir, where pg_rewind overwrites it", s.ConfDir)
	}
	p.tls("TLS", s.TLS)
	s.checkNetworks(&p)
	if s.Upstream != "" {
		p.hostPort("Upstream", s.Upstream)
		p.path("PassFile", s.PassFile)
	}
	p.duration("ClientCheck", s.ClientCheck, 10*time.Millisecond, 10*time.Second)
	p.size("SharedBuffers", s.SharedBuffers)
	p.size("WALKeepSize", s.WALKeepSize)
	p.size("MaxSlotWALKeepSize", s.MaxSlotWALKeepSize)
	p.size("MaxWALSize", s.MaxWALSize)
	if s.MaxConnections < 20 {
		p.add("MaxConnections", "%d is less than 20", s.MaxConnections)
	}
	p.duration("ArchiveTimeout", s.ArchiveTimeout, time.Second, 15*time.Minute)
	if strings.ContainsAny(s.RestoreCommand, "'\\\n") {
		p.add("RestoreCommand", "has a single quote, a backslash or a line break")
	}
	return p.err()
}

func (s Postgres) checkNetworks(p *problems) {
	p.address("ProxySource", s.ProxySource)
	proxy, _ := netip.ParseAddr(s.ProxySource)
	for field, networks := range map[string][]string{"Regions": s.Regions, "Peers": s.Peers} {
		for i, network := range networks {
			parsed, err := netip.ParsePrefix(prefix(network))
			if err != nil {
				p.add(fmt.Sprintf("%s[%d]", field, i), "%q is neither an IP address nor a network", network)
			} else if proxy.IsValid() && parsed.Contains(proxy) {
				p.add(fmt.Sprintf("%s[%d]", field, i), "%s holds the proxy's address %s", network, s.ProxySource)
			}
		}
	}
	for i, user := range s.SuperuserOSUsers {
		p.name(fmt.Sprintf("SuperuserOSUsers[%d]", i), user)
	}
}

// prefix makes a network of a single address; anything else comes back as it is.
func prefix(network string) string {
	if address, err := netip.ParseAddr(network); err == nil {
		return netip.PrefixFrom(address, address.BitLen()).String()
	}
	return network
}

func prefixes(networks []string) []string {
	out := make([]string, len(networks))
	for i, network := range networks {
		out[i] = prefix(network)
	}
	return out
}

// PassFileLine is one line of a libpq password file; the file holds a secret, mode 0600. An empty database is any.
func PassFileLine(hostPort, database, user, password string) (string, error) {
	p := problems{of: "passfile"}
	p.hostPort("hostPort", hostPort)
	p.name("user", user)
	p.oneLine("password", password)
	if database == "" {
		database = "*"
	}
	if err := p.err(); err != nil {
		return "", err
	}
	escape := strings.NewReplacer(`:`, `\:`)
	i := strings.LastIndex(hostPort, ":")
	host := escape.Replace(strings.Trim(hostPort[:i], "[]"))
	return fmt.Sprintf("%s:%s:%s:%s:%s\n", host, hostPort[i+1:], database, user, escape.Replace(password)), nil
}
