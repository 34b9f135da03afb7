package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/deploy/local/servers"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// prepare makes everything that the processes need before the first one starts. Nothing runs yet when it fails, and then what this start has made is removed again.
func (s *Stack) prepare(ctx context.Context) error {
	if err := s.folder.make(); err != nil {
		return err
	}
	if err := s.attachDisks(ctx); err != nil {
		return err
	}
	if err := debian.Ensure(ctx, s.terminal.say); err != nil {
		return err
	}
	// NATS and etcd carry everything else; MinIO and Vault are built beside what runs.
	for _, server := range []servers.Server{servers.NATS, servers.Etcd} {
		if _, err := server.Ensure(ctx, s.terminal.say); err != nil {
			return err
		}
	}
	var err error
	if s.owners, err = findOwners(); err != nil {
		return err
	}
	if s.identities, err = identity.Ensure(s.layout, s.owners.forIdentity()); err != nil {
		return err
	}
	if s.tls, err = operatorTLS(s.layout); err != nil {
		return err
	}
	if err := s.makeSocketDirs(); err != nil {
		return err
	}
	if s.options.Namespaces {
		return netns.Setup(ctx, s.layout.Addressing)
	}
	return nil
}

// makeSocketDirs makes the folders of the Unix sockets: PostgreSQL's is closed to all but its user and root.
func (s *Stack) makeSocketDirs() error {
	for _, r := range layout.DataRegions {
		if err := makeDir(s.layout.SocketDir(r), 0o755, nil); err != nil {
			return err
		}
		if err := makeDir(s.layout.PostgresSocketDir(r), 0o700, s.owners.of("postgres")); err != nil {
			return err
		}
	}
	return nil
}

// startBase starts what everything stands on: DNS, bus, etcd, and PostgreSQL in both data regions.
func (s *Stack) startBase(ctx context.Context) error {
	bind, err := s.bind()
	if err != nil {
		return err
	}
	lost, err := s.lostMembers()
	if err != nil {
		return err
	}
	units, late, members := []supervise.Spec{bind}, []supervise.Spec{}, []string{}
	for _, r := range layout.Regions {
		nats, err := s.nats(ctx, r)
		if err != nil {
			return err
		}
		etcd, err := s.etcd(ctx, r)
		if err != nil {
			return err
		}
		units = append(units, nats)
		if slices.Contains(lost, r) {
			late = append(late, etcd)
			continue
		}
		units, members = append(units, etcd), append(members, etcd.ID())
	}
	if err := s.add(units...); err != nil {
		return err
	}
	if err := s.await(ctx, members...); err != nil {
		return err
	}
	for n, etcd := range late {
		s.terminal.say("the etcd member of region %s has lost its data; the others take it in again", lost[n])
		if err := s.retry(ctx, "etcd member of region "+string(lost[n]), 2*shortAttempt, func(ctx context.Context) error { return s.replaceMember(ctx, lost[n]) }); err != nil {
			return err
		}
		if err := s.add(etcd); err != nil {
			return err
		}
		if err := s.await(ctx, etcd.ID()); err != nil {
			return err
		}
	}
	endpoints := make([]string, len(layout.Regions))
	urls := make([]string, len(layout.Regions))
	for i, r := range layout.Regions {
		endpoints[i] = "https://" + s.layout.Addressing.Addr(r, layout.PortEtcd)
		urls[i] = "tls://" + s.layout.Addressing.Addr(r, layout.PortNATS)
	}
	if err := s.retry(ctx, "etcd users and roles", shortAttempt, func(ctx context.Context) error { return bootstrap.Etcd(ctx, endpoints, s.tls) }); err != nil {
		return err
	}
	// JetStream elects for some seconds after a start; the database need not wait for it.
	streams := make(chan error, 1)
	go func() { streams <- s.makeStreams(ctx, urls) }()
	return errors.Join(s.startPostgres(ctx), <-streams)
}

func (s *Stack) makeStreams(ctx context.Context, urls []string) error {
	if err := s.await(ctx, "a/nats", "b/nats", "c/nats"); err != nil {
		return err
	}
	credentials := filepath.Join(s.layout.OperatorIdentityDir(), "nats.creds")
	return s.retry(ctx, "streams and durables", shortAttempt, func(ctx context.Context) error { return bootstrap.Streams(ctx, urls, credentials, s.tls) })
}

func (s *Stack) nats(ctx context.Context, r layout.Region) (supervise.Spec, error) {
	program, err := s.server(ctx, servers.NATS)
	if err != nil {
		return supervise.Spec{}, err
	}
	a := s.layout.Addressing
	config := filepath.Join(s.layout.ComponentDir(r, "nats"), "nats-server.conf")
	spec := s.component(r, "nats", program, a.Addr(r, layout.PortNATS), file{config, func() ([]byte, error) {
		n := deploy.NATS{
			ServerName: "ofitec-" + string(r), Client: a.Addr(r, layout.PortNATS), Route: a.Addr(r, layout.PortNATSRoute), Monitor: a.Addr(r, layout.PortNATSMonitor),
			TLS: s.serverTLS(r, "nats"), RoutePassword: s.identities.RoutePassword, OperatorJWT: s.identities.OperatorJWT,
			SystemAccount: s.identities.SystemAccount, Accounts: s.identities.Accounts, StoreDir: filepath.Join(s.layout.ComponentDir(r, "nats"), "jetstream"),
		}
		for _, other := range layout.Regions {
			if other != r {
				n.Routes = append(n.Routes, a.Addr(other, layout.PortNATSRoute))
			}
		}
		return n.Render()
	}})
	spec.Args = []string{"-c", config}
	spec.Ready = natsReady(s.url(r, layout.PortNATSMonitor, "/healthz"))
	return spec, nil
}

func (s *Stack) etcd(ctx context.Context, r layout.Region) (supervise.Spec, error) {
	program, err := s.server(ctx, servers.Etcd)
	if err != nil {
		return supervise.Spec{}, err
	}
	a := s.layout.Addressing
	dir := s.layout.ComponentDir(r, "etcd")
	config := filepath.Join(dir, "etcd.conf.yml")
	spec := s.component(r, "etcd", program, a.Addr(r, layout.PortEtcd), file{config, func() ([]byte, error) {
		tls := s.serverTLS(r, "etcd")
		peer := deploy.TLSFiles{Cert: filepath.Join(filepath.Dir(tls.Cert), "peer.crt"), Key: filepath.Join(filepath.Dir(tls.Cert), "peer.key"), CA: tls.CA}
		e := deploy.Etcd{
			Name: string(r), DataDir: filepath.Join(dir, "data"), Client: a.Addr(r, layout.PortEtcd), Peer: a.Addr(r, layout.PortEtcdPeer), Metrics: a.Addr(r, layout.PortEtcdMetrics), ClientTLS: tls, PeerTLS: peer,
			Existing: s.folder.stamp.PostgresMade, // read by a member without data only
		}
		for _, member := range layout.Regions {
			e.Members = append(e.Members, deploy.EtcdMember{Name: string(member), Peer: a.Addr(member, layout.PortEtcdPeer)})
			e.PeerNames = append(e.PeerNames, "etcd."+string(member))
		}
		return e.Render()
	}})
	spec.Args, spec.Nice = []string{"--config-file", config}, -5
	spec.Ready = etcdReady("https://"+a.Addr(r, layout.PortEtcd), s.tls)
	return spec, nil
}

// bind stands outside all regions: the name must answer whichever region is gone.
func (s *Stack) bind() (supervise.Spec, error) {
	program, err := s.programs.packaged("named")
	if err != nil {
		return supervise.Spec{}, err
	}
	a := s.layout.Addressing
	dir, keys := s.layout.OutsideDir("bind"), filepath.Join(s.layout.OutsideIdentityDir("bind"), "keys.conf")
	server := deploy.BIND{
		Dir: dir, Listen: []string{"127.0.0.1"}, Port: layout.PortDNS, ControlPort: layout.PortDNSControl, KeyFile: keys,
		UpdateKey: "ofitec-update", ControlKey: "ofitec-control", Zone: layout.Zone, Name: layout.Name, TTL: 1,
		Address: a.Region[layout.A], Epoch: 1,
	}
	if a.Outside != "127.0.0.1" {
		server.Listen = append(server.Listen, a.Outside)
	}
	config := filepath.Join(dir, "named.conf")
	spec := s.component("", "bind", program, fmt.Sprintf("%s:%d", a.Outside, layout.PortDNS), file{config, server.RenderConf})
	spec = before(spec, func(context.Context) error {
		zone := filepath.Join(dir, layout.Zone+".zone")
		if _, err := os.Stat(zone); !errors.Is(err, os.ErrNotExist) {
			return err // the zone is the server's own once it has run
		}
		content, err := server.RenderZone()
		if err != nil {
			return err
		}
		return writeFile(zone, content, 0o600, s.owners.of("bind"))
	})
	spec.Args = []string{"-f", "-c", config}
	spec.Ready = dnsReady(spec.Addr, layout.Name)
	return spec, nil
}

// objects is MinIO, outside the regions like the S3 of a cloud.
func (s *Stack) objects(ctx context.Context) (supervise.Spec, error) {
	program, err := s.server(ctx, servers.MinIO)
	if err != nil {
		return supervise.Spec{}, err
	}
	dir := s.layout.OutsideIdentityDir("minio")
	addr := s.outside(layout.PortObjects)
	listen := addr
	if s.options.Namespaces {
		listen = fmt.Sprintf(":%d", layout.PortObjects)
	}
	spec := s.component("", "minio", program, addr)
	spec.Args = []string{"server", "--quiet", "--address", listen, "--certs-dir", filepath.Join(dir, "certs"), filepath.Join(spec.Dir, "data")}
	spec.Env = append(spec.Env, "MINIO_BROWSER=off", "MINIO_ROOT_USER_FILE="+filepath.Join(dir, "root-user"), "MINIO_ROOT_PASSWORD_FILE="+filepath.Join(dir, "root-password"))
	spec.Ready = httpReady("https://"+addr+"/minio/health/live", tlsClient(s.tls))
	spec.Nice = 5
	return spec, nil
}

func (s *Stack) startObjects(ctx context.Context) error {
	spec, err := s.objects(ctx)
	if err != nil {
		return err
	}
	if err := s.add(spec); err != nil {
		return err
	}
	if err := s.await(ctx, "outside/minio"); err != nil {
		return err
	}
	return s.retry(ctx, "raw bucket and its users", shortAttempt, func(ctx context.Context) error {
		return bootstrap.Objects(ctx, s.layout, s.outside(layout.PortObjects), s.tls)
	})
}
