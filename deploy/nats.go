package deploy

import (
	"fmt"
	"strings"
)

// NATS is one server of the cluster of three. The rendered file holds RoutePassword: mode 0600.
type NATS struct {
	ServerName  string // unique in the cluster and stable over restarts: JetStream's identity, such as "ofitec-a"
	ClusterName string // equal on all servers; "ofitec" when empty

	Client  string   // listener of clients, TLS
	Route   string   // listener of the other servers, TLS in both directions
	Monitor string   // plain HTTP without authentication: an address that only the region reaches
	Routes  []string // the other servers' Route

	TLS           TLSFiles
	RouteTLS      TLSFiles // TLS when zero
	RoutePassword string   // shared by the servers, at least 22 characters of [A-Za-z0-9_-]
	VerifyClients bool     // also ask clients for a certificate; their JWT is asked for in any case

	OperatorJWT   string
	SystemAccount string        // public key of the system account, which must be among Accounts
	Accounts      []NATSAccount // preloaded: there is no account server to lose

	StoreDir       string // JetStream's folder
	MaxFileStore   int64  // bytes; 4 GiB when zero
	MaxMemoryStore int64  // bytes; 64 MiB when zero
	MaxConnections int    // 1000 when zero
}

// NATSAccount is an account's claims, signed by the operator.
type NATSAccount struct{ PublicKey, JWT string }

// Render returns nats-server.conf.
func (n NATS) Render() ([]byte, error) {
	n = n.withDefaults()
	if err := n.check(); err != nil {
		return nil, err
	}
	return render("nats/nats-server.conf.tmpl", n)
}

func (n NATS) withDefaults() NATS {
	if n.ClusterName == "" {
		n.ClusterName = "ofitec"
	}
	if n.RouteTLS == (TLSFiles{}) {
		n.RouteTLS = n.TLS
	}
	if n.MaxFileStore == 0 {
		n.MaxFileStore = 4 << 30
	}
	if n.MaxMemoryStore == 0 {
		n.MaxMemoryStore = 64 << 20
	}
	if n.MaxConnections == 0 {
		n.MaxConnections = 1000
	}
	return n
}

func (n NATS) check() error {
	p := problems{of: "nats"}
	p.name("ServerName", n.ServerName)
	p.name("ClusterName", n.ClusterName)
	p.hostPort("Client", n.Client)
	p.hostPort("Route", n.Route)
	p.hostPort("Monitor", n.Monitor)
	p.hostPorts("Routes", n.Routes)
	p.tls("TLS", n.TLS)
	p.tls("RouteTLS", n.RouteTLS)
	p.name("RoutePassword", n.RoutePassword)
	if len(n.RoutePassword) < 22 {
		p.add("RoutePassword", "has %d characters, at least 22 are needed", len(n.RoutePassword))
	}
	p.path("StoreDir", n.StoreDir)
	p.oneLine("OperatorJWT", n.OperatorJWT)
	known := false
	for i, account := range n.Accounts {
		p.name(fmt.Sprintf("Accounts[%d].PublicKey", i), account.PublicKey)
		if !strings.HasPrefix(account.PublicKey, "A") {
			p.add(fmt.Sprintf("Accounts[%d].PublicKey", i), "%q is not an account's public key", account.PublicKey)
		}
		p.oneLine(fmt.Sprintf("Accounts[%d].JWT", i), account.JWT)
		known = known || account.PublicKey == n.SystemAccount
	}
	if !known {
		p.add("SystemAccount", "%q is not among Accounts", n.SystemAccount)
	}
	if n.MaxFileStore < 0 || n.MaxMemoryStore < 0 || n.MaxConnections < 0 {
		p.add("MaxFileStore, MaxMemoryStore, MaxConnections", "must not be negative")
	}
	return p.err()
}
