package deploy

import (
	"fmt"
	"time"
)

// Etcd is one member of three.
type Etcd struct {
	Name    string
	DataDir string
	Client  string // listener of clients, TLS; the certificate's CN is the user
	Peer    string // listener of the other members
	Metrics string // plain HTTP for /metrics and /health; none when empty

	Members      []EtcdMember // all members, this one included
	ClusterToken string       // "ofitec" when empty
	// Existing joins a cluster that runs: a member that lost its data is removed, added and started like this.
	Existing bool

	// ClientTLS is shown to clients; its certificate must carry an empty CN, which etcd would take for a user.
	ClientTLS TLSFiles
	PeerTLS   TLSFiles // ClientTLS when zero
	// PeerNames are the DNS names of which a peer's certificate must carry one ("etcd.a", ...). When empty every
	// certificate of the CA, a service's too, may speak to the peer port.
	PeerNames []string

	Heartbeat time.Duration // 100 ms when zero (protocol.md: local 0.1, wan 0.15 s)
	Election  time.Duration // 1 s when zero (local 1.0, wan 1.5 s), never below it and at least ten heartbeats

	QuotaBytes          int64  // 2 GiB when zero
	CompactionRetention string // "1h" when empty
	LogLevel            string // debug, info, warn or error; "warn" when empty
}

// EtcdMember is a member's name and peer address.
type EtcdMember struct{ Name, Peer string }

// Render returns etcd.conf.yml for `etcd --config-file`.
func (e Etcd) Render() ([]byte, error) {
	e = e.withDefaults()
	if err := e.check(); err != nil {
		return nil, err
	}
	return render("etcd/etcd.conf.yml.tmpl", e)
}

func (e Etcd) withDefaults() Etcd {
	if e.ClusterToken == "" {
		e.ClusterToken = "ofitec"
	}
	if e.PeerTLS == (TLSFiles{}) {
		e.PeerTLS = e.ClientTLS
	}
	if e.Heartbeat == 0 {
		e.Heartbeat = 100 * time.Millisecond
	}
	if e.Election == 0 {
		e.Election = time.Second
	}
	if e.QuotaBytes == 0 {
		e.QuotaBytes = 2 << 30
	}
	if e.CompactionRetention == "" {
		e.CompactionRetention = "1h"
	}
	if e.LogLevel == "" {
		e.LogLevel = "warn"
	}
	return e
}

func (e Etcd) check() error {
	p := problems{of: "etcd"}
	p.name("Name", e.Name)
	p.name("ClusterToken", e.ClusterToken)
	p.path("DataDir", e.DataDir)
	p.hostPort("Client", e.Client)
	p.hostPort("Peer", e.Peer)
	if e.Metrics != "" {
		p.hostPort("Metrics", e.Metrics)
	}
	p.tls("ClientTLS", e.ClientTLS)
	p.tls("PeerTLS", e.PeerTLS)
	found := false
	for i, member := range e.Members {
		p.name(fmt.Sprintf("Members[%d].Name", i), member.Name)
		p.hostPort(fmt.Sprintf("Members[%d].Peer", i), member.Peer)
		found = found || member == EtcdMember{e.Name, e.Peer}
	}
	if !found {
		p.add("Members", "does not hold this member, %s at %s", e.Name, e.Peer)
	}
	for i, name := range e.PeerNames {
		p.name(fmt.Sprintf("PeerNames[%d]", i), name)
	}
	p.duration("Heartbeat", e.Heartbeat, 10*time.Millisecond, 5*time.Second)
	p.duration("Election", e.Election, time.Second, 50*time.Second)
	if e.Election < 10*e.Heartbeat {
		p.add("Election", "%v is less than ten heartbeats of %v (rule R7)", e.Election, e.Heartbeat)
	}
	if retention, err := time.ParseDuration(e.CompactionRetention); err != nil || retention <= 0 {
		p.add("CompactionRetention", "%q is not a duration", e.CompactionRetention)
	}
	if e.QuotaBytes < 0 {
		p.add("QuotaBytes", "must not be negative")
	}
	p.oneOf("LogLevel", e.LogLevel, "debug", "info", "warn", "error")
	return p.err()
}
