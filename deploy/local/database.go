package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// rejoinMarker says that PGDATA is being rewound or copied: a server started then could be a second primary.
const rejoinMarker = "rejoin.inprogress"

// postgresSettings is one region's server.
func (s *Stack) postgresSettings(r layout.Region) deploy.Postgres {
	a := s.layout.Addressing
	settings := deploy.Postgres{
		Name: "region_" + string(r), Listen: a.Addr(r, layout.PortPostgres), SocketDir: s.layout.PostgresSocketDir(r),
		ConfDir: s.layout.PostgresConfDir(r), DataDir: s.layout.PostgresDataDir(r), TLS: s.serverTLS(r, "postgres"),
		ProxySource: a.ProxySource[r], SuperuserOSUsers: []string{"postgres"},
		Archiving: true, Upstream: a.Addr(r.Peer(), layout.PortPostgres), PassFile: filepath.Join(s.layout.PostgresConfDir(r), "replication.pgpass"),
	}
	if os.Geteuid() == 0 {
		settings.SuperuserOSUsers = []string{"postgres", "root"}
	} else if name := os.Getenv("USER"); name != "" {
		settings.SuperuserOSUsers = []string{name}
	}
	if a.Namespaces {
		for _, region := range layout.Regions {
			settings.Regions = append(settings.Regions, a.Region[region])
		}
		settings.Peers = []string{a.Region[r.Peer()]}
	} else {
		// Whatever the region, a connection to a loopback address leaves from 127.0.0.1.
		settings.Regions, settings.Peers = []string{"127.0.0.1"}, []string{"127.0.0.1"}
	}
	return settings
}

// configurePostgres writes what stands outside PGDATA. The hba in force is not touched here.
func (s *Stack) configurePostgres(r layout.Region) error {
	settings, owner := s.postgresSettings(r), s.owners.of("postgres")
	for _, dir := range []string{s.layout.ComponentDir(r, "postgres"), settings.ConfDir, filepath.Join(settings.ConfDir, "pgbackrest")} {
		if err := makeDir(dir, 0o700, owner); err != nil {
			return err
		}
	}
	var lines string
	for _, of := range []struct{ role, database string }{{"ofitec_replication", "replication"}, {"ofitec_rewind", "postgres"}} {
		password, err := s.identities.Password(of.role)
		if err != nil {
			return err
		}
		line, err := deploy.PassFileLine(settings.Upstream, of.database, of.role, password)
		if err != nil {
			return err
		}
		lines += line
	}
	files := map[string]func() ([]byte, error){
		"postgresql.conf":    settings.RenderConf,
		"pg_hba.open.conf":   settings.RenderHBAOpen,
		"pg_hba.fenced.conf": settings.RenderHBAFenced,
		"pg_ident.conf":      settings.RenderIdent,
		"replication.pgpass": func() ([]byte, error) { return []byte(lines), nil },
		archiveFile:          func() ([]byte, error) { return s.archive(r, settings) },
	}
	for name, render := range files {
		content, err := render()
		if err != nil {
			return fmt.Errorf("configure postgres of region %s: %w", r, err)
		}
		if err := writeFile(filepath.Join(settings.ConfDir, name), content, 0o600, owner); err != nil {
			return err
		}
	}
	return nil
}

// archiveFile is pgBackRest's configuration beside PostgreSQL's.
const archiveFile = "pgbackrest.conf"

// archive is where a region's WAL and backups go: the object store outside all regions.
func (s *Stack) archive(r layout.Region, settings deploy.Postgres) ([]byte, error) {
	secret, err := identity.Master(s.layout, identity.ArchiveSecret(r))
	if err != nil {
		return nil, err
	}
	passphrase, err := identity.Master(s.layout, identity.ArchivePassphrase)
	if err != nil {
		return nil, err
	}
	return deploy.Archive{
		Endpoint: s.outside(layout.PortObjects), Bucket: deploy.MinIOArchive, CAFile: settings.TLS.CA,
		Key: identity.ArchiveUser(r), Secret: string(secret), Passphrase: string(passphrase),
		DataDir: settings.DataDir, SocketDir: settings.SocketDir, Port: layout.PortPostgres, LockDir: filepath.Join(settings.ConfDir, "pgbackrest"),
	}.Render()
}

// fence puts the closed hba in force: a server that boots lets nobody commit until its arbiter holds the mandate.
func (s *Stack) fence(r layout.Region) error {
	conf := s.layout.PostgresConfDir(r)
	content, err := os.ReadFile(filepath.Join(conf, "pg_hba.fenced.conf"))
	if err != nil {
		return fmt.Errorf("fence postgres of region %s: %w", r, err)
	}
	return writeFile(filepath.Join(conf, "pg_hba.conf"), content, 0o600, s.owners.of("postgres"))
}

// postgres is the supervised server. It boots fenced, and not at all while a rejoin is under way or without data: the region's arbiter then copies the other
// region's cluster, for which it needs the configuration, and asks for a start.
func (s *Stack) postgres(r layout.Region) supervise.Spec {
	conf, data := s.layout.PostgresConfDir(r), s.layout.PostgresDataDir(r)
	spec := s.component(r, "postgres", debian.PostgresBin+"/postgres", s.layout.Addressing.Addr(r, layout.PortPostgres))
	spec.Args = []string{"-D", data, "-c", "config_file=" + filepath.Join(conf, "postgresql.conf")}
	spec.Dir, spec.Folder = data, data
	spec.Before = func(context.Context) error {
		if err := s.configurePostgres(r); err != nil {
			return err
		}
		if s.isRejoining(r) {
			return fmt.Errorf("%w: %s is there: a rejoin has begun and not ended", supervise.ErrHeld, rejoinMarker)
		}
		if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil {
			return fmt.Errorf("%w: %s holds no cluster", supervise.ErrHeld, data)
		}
		if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove stale postmaster.pid: %w", err) // sweep has made sure that nobody runs on this folder
		}
		return s.fence(r)
	}
	spec.StopSignal, spec.StopTimeout = syscall.SIGINT, 20*time.Second
	spec.Ready = postgresReady(s.layout.PostgresSocketDir(r))
	return spec
}

// startPostgres brings both regions' servers up. The first time the cluster is made in a and copied to b; nothing is ever made anew.
func (s *Stack) startPostgres(ctx context.Context) error {
	if s.folder.stamp.PostgresMade {
		return s.resumePostgres(ctx)
	}
	for _, r := range layout.DataRegions {
		if err := s.configurePostgres(r); err != nil {
			return err
		}
	}
	source, target := layout.A, layout.B
	s.terminal.say("making the database cluster in region %s", source)
	if err := bootstrap.InitPrimary(ctx, s.postgresInstall(source)); err != nil {
		return err
	}
	if err := s.add(s.postgres(source)); err != nil {
		return err
	}
	if err := s.makeRoles(ctx, source); err != nil {
		return err
	}
	s.terminal.say("copying the database from region %s to region %s", source, target)
	if err := s.retry(ctx, "copy of the database", longAttempt, func(ctx context.Context) error {
		return bootstrap.CloneStandby(ctx, s.postgresInstall(source), s.postgresInstall(target))
	}); err != nil {
		return err
	}
	if err := s.add(s.postgres(target)); err != nil {
		return err
	}
	s.folder.stamp.PostgresMade = true
	if err := s.folder.writeStamp(); err != nil {
		return err
	}
	return s.await(ctx, string(target)+"/postgres")
}

// resumePostgres starts what is there. Which region takes writes stands in etcd, and which one is copied anew is for the arbiters: a region without data,
// and one that lost the mandate and has not rejoined yet, keep nobody waiting.
func (s *Stack) resumePostgres(ctx context.Context) error {
	var primaries, standbys []layout.Region
	for _, r := range layout.DataRegions {
		switch {
		case s.isRejoining(r) || !s.hasCluster(r):
			s.terminal.say("region %s has no whole database: its arbiter copies the other region's", r)
		case s.isStandby(r):
			standbys = append(standbys, r)
		default:
			primaries = append(primaries, r)
		}
	}
	if len(primaries) == 0 {
		return fmt.Errorf("data folder %s: no region holds a primary database any more; restore %s from a backup", s.layout.Root, s.layout.PostgresDataDir(layout.A))
	}
	for _, r := range layout.DataRegions {
		if err := s.add(s.postgres(r)); err != nil {
			return err
		}
	}
	if len(primaries) > 1 {
		s.terminal.say("both regions' databases were primaries: the one without the mandate becomes a standby of the other")
		return nil
	}
	if err := s.makeRoles(ctx, primaries[0]); err != nil {
		return err
	}
	for _, r := range standbys {
		if err := s.await(ctx, string(r)+"/postgres"); err != nil {
			return err
		}
	}
	return nil
}

// makeRoles waits for a primary and brings its roles to where this version wants them.
func (s *Stack) makeRoles(ctx context.Context, r layout.Region) error {
	if err := s.await(ctx, string(r)+"/postgres"); err != nil {
		return err
	}
	return s.retry(ctx, "database roles", 4*shortAttempt, func(ctx context.Context) error {
		return bootstrap.Roles(ctx, s.postgresInstall(r), s.identities)
	})
}

func (s *Stack) isRejoining(r layout.Region) bool {
	_, err := os.Stat(filepath.Join(s.layout.ComponentDir(r, "postgres"), rejoinMarker))
	return !errors.Is(err, fs.ErrNotExist)
}

func (s *Stack) hasCluster(r layout.Region) bool {
	_, err := os.Stat(filepath.Join(s.layout.PostgresDataDir(r), "PG_VERSION"))
	return err == nil
}

func (s *Stack) isStandby(r layout.Region) bool {
	_, err := os.Stat(filepath.Join(s.layout.PostgresDataDir(r), "standby.signal"))
	return err == nil
}

// postgresInstall is the same server as the bootstrap needs it.
func (s *Stack) postgresInstall(r layout.Region) bootstrap.Postgres {
	settings := s.postgresSettings(r)
	install := bootstrap.Postgres{
		Region: r, BinDir: debian.PostgresBin, DataDir: settings.DataDir, SocketDir: settings.SocketDir, Port: layout.PortPostgres,
		Address: settings.Listen, CAFile: settings.TLS.CA, PassFile: settings.PassFile, Slot: settings.Name,
	}
	if owner := s.owners.of("postgres"); owner != nil {
		install.User = &identity.Owner{UID: int(owner.UID), GID: int(owner.GID)}
	}
	if s.options.Namespaces {
		install.Namespace = netns.Path(r)
	}
	return install
}
