// Package layout says where everything of the local stack is: addresses, ports, folders and files.
// It is plain data and does no I/O, so that the stack, its bootstrap, its tests and the operator's command agree by construction.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
)

// Region is one of the three regions of design.md section 1.
type Region string

// The regions. A and B hold data, C only votes.
const (
	A Region = "a"
	B Region = "b"
	C Region = "c"
)

// Regions lists all regions in order; DataRegions those that hold data.
var (
	Regions     = []Region{A, B, C}
	DataRegions = []Region{A, B}
)

// HoldsData says whether the region runs PostgreSQL, Odoo and the proxies.
func (r Region) HoldsData() bool { return r == A || r == B }

// Peer is the other data region.
func (r Region) Peer() Region {
	if r == A {
		return B
	}
	return A
}

// Ports on a region's address (design.md section 7).
const (
	PortNATS             = 4222
	PortNATSRoute        = 6222
	PortNATSMonitor      = 8222
	PortEtcd             = 2379
	PortEtcdPeer         = 2380
	PortEtcdMetrics      = 2381
	PortDatabaseProxy    = 5432
	PortPostgres         = 5433
	PortReadProxy        = 5434
	PortWebProxy         = 8080
	PortOdooBlue         = 8069
	PortOdooGreen        = 8070
	PortPrometheus       = 9090
	PortVault            = 8200
	PortVaultCluster     = 8201
	PortPostgresExporter = 9187
	PortDatabaseProxyTap = 8404 // metrics of the database proxy
	PortWebProxyTap      = 8405 // metrics of the web proxy
	PortProbe            = 8701
	PortArbiter          = 8702
	PortRotator          = 8703
	PortDeployer         = 8704
	PortIngest           = 8705
	PortTransform        = 8706
)

// Ports of what stands outside all regions, on the outside address.
const (
	PortConsole    = 8080
	PortDNS        = 5300
	PortDNSControl = 5953
	PortObjects    = 9000
)

// Zone is the dynamic zone; Name is the one that a failover flips.
const (
	Zone = "ofitec.test"
	Name = "erp.ofitec.test"
)

// Addressing is where the regions are on the network.
type Addressing struct {
	// Namespaces is true when each region has a network namespace of its own (up --netns).
	Namespaces bool `json:"namespaces"`
	// Region is each region's address.
	Region map[Region]string `json:"region"`
	// ProxySource is the address from which a region's database proxy reaches PostgreSQL; data regions only.
	ProxySource map[Region]string `json:"proxy_source"`
	// Outside is the address of BIND and MinIO as the regions see it; Console that of the page.
	Outside string `json:"outside"`
	Console string `json:"console"`
}

// Loopback is the addressing of a plain `up`: three loopback addresses.
func Loopback() Addressing {
	return Addressing{
		Region:      map[Region]string{A: "127.0.0.11", B: "127.0.0.12", C: "127.0.0.13"},
		ProxySource: map[Region]string{A: "127.0.0.111", B: "127.0.0.112"},
		Outside:     "127.0.0.1",
		Console:     "127.0.0.1",
	}
}

// Namespaced is the addressing of `up --netns`: a bridge and a namespace a region.
func Namespaced() Addressing {
	return Addressing{
		Namespaces:  true,
		Region:      map[Region]string{A: "10.77.0.11", B: "10.77.0.12", C: "10.77.0.13"},
		ProxySource: map[Region]string{A: "10.77.0.111", B: "10.77.0.112"},
		Outside:     "10.77.0.1",
		Console:     "127.0.0.1",
	}
}

// WithRegions is the addressing with other addresses for the regions. A data region's proxy leaves from the same address with 100 added to its last number,
// as in the two addressings above. Addresses are IPv4, and their last number is below 155.
func (a Addressing) WithRegions(regions map[Region]string) (Addressing, error) {
	changed := a
	changed.Region, changed.ProxySource = map[Region]string{}, map[Region]string{}
	seen := map[netip.Addr]Region{}
	for _, r := range Regions {
		text := a.Region[r]
		if given, ok := regions[r]; ok {
			text = given
		}
		address, err := netip.ParseAddr(text)
		if err != nil || !address.Is4() {
			return Addressing{}, fmt.Errorf("address of region %s is %q: must be an IPv4 address such as %s", r, text, a.Region[r])
		}
		if other, ok := seen[address]; ok {
			return Addressing{}, fmt.Errorf("address of region %s is %s, which is region %s's: each needs its own", r, text, other)
		}
		seen[address] = r
		changed.Region[r] = text
		if r.HoldsData() {
			octets := address.As4()
			if octets[3] >= 155 {
				return Addressing{}, fmt.Errorf("address of region %s is %s: its last number must be below 155, for the database proxy leaves from the one 100 above", r, text)
			}
			octets[3] += 100
			changed.ProxySource[r] = netip.AddrFrom4(octets).String()
		}
	}
	for r := range regions {
		if _, ok := a.Region[r]; !ok {
			return Addressing{}, fmt.Errorf("address given for region %q: regions are a, b and c", r)
		}
	}
	return changed, nil
}

// Addr is host:port of a port on a region's address.
func (a Addressing) Addr(r Region, port int) string { return fmt.Sprintf("%s:%d", a.Region[r], port) }

// Layout is one data folder. Root is absolute. The methods only join paths.
type Layout struct {
	Root       string
	Addressing Addressing
}

// RegionDir is the folder of all that a region owns; nothing of another region reads it.
func (l Layout) RegionDir(r Region) string { return filepath.Join(l.Root, string(r)) }

// ComponentDir is the state folder of one component of a region.
func (l Layout) ComponentDir(r Region, component string) string {
	return filepath.Join(l.RegionDir(r), component)
}

// OutsideDir is the state folder of a component outside the regions: bind, minio, console.
func (l Layout) OutsideDir(component string) string {
	return filepath.Join(l.Root, "outside", component)
}

// IdentityDir holds the keys, certificates and credentials of one service in one region.
func (l Layout) IdentityDir(r Region, service string) string {
	return filepath.Join(l.RegionDir(r), "identity", service)
}

// ConsoleLinkFile holds the page's one-time link, 0600; the console makes another whenever it is used or removed.
func (l Layout) ConsoleLinkFile() string {
	return filepath.Join(l.OutsideDir("console"), "link")
}

// OutsideIdentityDir is IdentityDir for what stands outside the regions.
func (l Layout) OutsideIdentityDir(service string) string {
	return filepath.Join(l.Root, "outside", "identity", service)
}

// OperatorDir holds the CA's key, Vault's unseal key and the operator's own identity.
func (l Layout) OperatorDir() string { return filepath.Join(l.Root, "operator") }

// OperatorIdentityDir is the operator's identity, which the command uses.
func (l Layout) OperatorIdentityDir() string { return filepath.Join(l.OperatorDir(), "identity") }

// VaultSnapshotDir has snapshots of Vault.
func (l Layout) VaultSnapshotDir() string { return filepath.Join(l.OperatorDir(), "vault-snapshots") }

// DashboardsDir holds the login to Vault by which those who read the marts find their login to the database.
func (l Layout) DashboardsDir() string { return filepath.Join(l.OperatorDir(), "dashboards") }

// LogFile is where a component's output goes.
func (l Layout) LogFile(r Region, component string) string {
	return filepath.Join(l.RegionDir(r), "log", component+".log")
}

// OutsideLogFile is LogFile for what stands outside the regions.
func (l Layout) OutsideLogFile(component string) string {
	return filepath.Join(l.Root, "outside", "log", component+".log")
}

// OdooEnvFile is the environment file of one colour, blue or green.
func (l Layout) OdooEnvFile(r Region, colour string) string {
	return filepath.Join(l.RegionDir(r), "odoo", colour, ".env")
}

// WebhookSecretFile has what a region's Odoo signs its announcements with; 0600, Odoo's.
func (l Layout) WebhookSecretFile(r Region) string {
	return filepath.Join(l.IdentityDir(r, "odoo"), "webhook-secret")
}

// AnalyticsFile is the DSN of readers of a region's marts; 0600, with the password.
func (l Layout) AnalyticsFile(r Region) string {
	return filepath.Join(l.RegionDir(r), "analytics.dsn")
}

// PostgresConfDir holds configuration and host-based authentication outside PGDATA, so that pg_rewind cannot overwrite them.
func (l Layout) PostgresConfDir(r Region) string {
	return filepath.Join(l.ComponentDir(r, "postgres"), "conf")
}

// PostgresDataDir is PGDATA.
func (l Layout) PostgresDataDir(r Region) string {
	return filepath.Join(l.ComponentDir(r, "postgres"), "data")
}

// SocketDir is a short path for Unix sockets of a region: a socket's path may have 107 bytes only.
func (l Layout) SocketDir(r Region) string {
	return filepath.Join(l.SocketRoot(), string(r))
}

// SocketRoot is the folder of all regions' sockets and of the supervisor's own.
func (l Layout) SocketRoot() string {
	sum := sha256.Sum256([]byte(l.Root))
	return "/tmp/ofitec-" + hex.EncodeToString(sum[:4])
}

// PostgresSocketDir is where a region's PostgreSQL listens for superusers; mode 0700.
func (l Layout) PostgresSocketDir(r Region) string { return filepath.Join(l.SocketDir(r), "postgres") }

// DatabaseProxySocket is the runtime socket of the database proxy; the arbiter's only.
func (l Layout) DatabaseProxySocket(r Region) string {
	return filepath.Join(l.SocketDir(r), "haproxy-db", "runtime.sock")
}

// WebProxySocket is the runtime socket of the web proxy; the deployer's only.
func (l Layout) WebProxySocket(r Region) string {
	return filepath.Join(l.SocketDir(r), "haproxy-web", "runtime.sock")
}

// SupervisorSocket is where the region's arbiter asks for a start or a stop of PostgreSQL.
func (l Layout) SupervisorSocket(r Region) string {
	return filepath.Join(l.SocketDir(r), "supervisor.sock")
}

// OdooSocket is where the region's deployer asks for new environment files and starts of Odoo's colours.
func (l Layout) OdooSocket(r Region) string { return filepath.Join(l.SocketDir(r), "odoo.sock") }

// ActiveColourFile keeps which colour has the traffic, for the web proxy's next start; the deployer writes it.
func (l Layout) ActiveColourFile(r Region) string {
	return filepath.Join(l.ComponentDir(r, "haproxy-web"), "active")
}

// ControlSocket is where the operator's command reaches the running stack.
func (l Layout) ControlSocket() string { return filepath.Join(l.SocketRoot(), "control.sock") }

// ServiceUnit names where a service runs and on which health port.
type ServiceUnit struct {
	Name    string
	Port    int
	Regions []Region
}

// Services are the Go services of the regions, in the order in which they start.
var Services = []ServiceUnit{
	{"failover-arbiter", PortArbiter, Regions},
	{"health-probe", PortProbe, Regions},
	{"rotator", PortRotator, DataRegions},
	{"deployer", PortDeployer, DataRegions},
	{"etl-ingest", PortIngest, DataRegions},
	{"etl-transform", PortTransform, DataRegions},
}
