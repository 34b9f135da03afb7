package bootstrap_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// postgres configures a region's server and says how the bootstrap finds it.
func (s *stage) postgres(t *testing.T, r layout.Region) bootstrap.Postgres {
	t.Helper()
	if testing.Short() {
		t.Skip("a real server is started")
	}
	if _, err := os.Stat(debian.PostgresBin + "/initdb"); err != nil {
		t.Skip("PostgreSQL is not installed (ofitec setup installs it)")
	}
	if os.Geteuid() == 0 && s.owners == nil {
		t.Skip("PostgreSQL does not run as root and there is no user postgres")
	}
	l, osUser := s.layout, os.Getenv("USER")
	settings := deploy.Postgres{
		Name: "region_" + string(r), Listen: l.Addressing.Addr(r, layout.PortPostgres), SocketDir: filepath.Join(filepath.Dir(l.Root), string(r)),
		ConfDir: l.PostgresConfDir(r), DataDir: l.PostgresDataDir(r), TLS: s.serverTLS(r, "postgres"), ProxySource: l.Addressing.ProxySource[r],
		Regions: []string{"127.0.0.1"}, Peers: []string{"127.0.0.1"}, SuperuserOSUsers: []string{"postgres", "root"},
		Upstream: l.Addressing.Addr(r.Peer(), layout.PortPostgres), PassFile: l.PostgresConfDir(r) + "/replication.pgpass", SharedBuffers: "16MB", MaxConnections: 60,
	}
	if os.Geteuid() != 0 {
		settings.SuperuserOSUsers = []string{osUser}
	}
	p := bootstrap.Postgres{
		Region: r, BinDir: debian.PostgresBin, DataDir: settings.DataDir, SocketDir: settings.SocketDir, Port: layout.PortPostgres,
		Address: settings.Listen, CAFile: settings.TLS.CA, PassFile: settings.PassFile, Slot: settings.Name,
	}
	if owner, ok := s.owners["postgres"]; ok {
		p.User = &owner
	}
	password, err := s.set.Password("ofitec_replication")
	if err != nil {
		t.Fatal(err)
	}
	for name, render := range map[string]func() ([]byte, error){
		"postgresql.conf": settings.RenderConf, "pg_hba.conf": settings.RenderHBAOpen, "pg_ident.conf": settings.RenderIdent,
		"replication.pgpass": func() ([]byte, error) {
			line, err := deploy.PassFileLine(settings.Upstream, "replication", "ofitec_replication", password)
			return []byte(line), err
		},
	} {
		s.write(t, filepath.Join(settings.ConfDir, name), render)
	}
	for _, dir := range []string{filepath.Dir(settings.DataDir), settings.SocketDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		s.give(t, dir)
	}
	return p
}

// give makes everything below a folder the database's.
func (s *stage) give(t *testing.T, dir string) {
	t.Helper()
	owner, ok := s.owners["postgres"]
	if !ok {
		return
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, owner.UID, owner.GID)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stage) startPostgres(t *testing.T, p bootstrap.Postgres) (stop func()) {
	t.Helper()
	cmd := exec.Command(debian.PostgresBin+"/postgres", "-D", p.DataDir, "-c", "config_file="+s.layout.PostgresConfDir(p.Region)+"/postgresql.conf")
	cmd.Dir, cmd.Env = p.DataDir, []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + p.DataDir}
	if p.User != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.User.UID), Gid: uint32(p.User.GID)}}
	}
	stop = start(t, cmd)
	eventually(t, "postgres", func(ctx context.Context) error {
		conn, err := super(ctx, p, "postgres")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	return stop
}

func super(ctx context.Context, p bootstrap.Postgres, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", p.SocketDir, p.Port, database))
}

func ask(ctx context.Context, p bootstrap.Postgres, database, query string) (string, error) {
	conn, err := super(ctx, p, database)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var answer string
	err = conn.QueryRow(ctx, query).Scan(&answer)
	return answer, err
}

// primary makes and starts region a's server with its roles.
func (s *stage) primary(t *testing.T) bootstrap.Postgres {
	t.Helper()
	a := s.postgres(t, layout.A)
	for range 2 {
		if err := bootstrap.InitPrimary(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	s.startPostgres(t, a)
	for range 2 {
		if err := bootstrap.Roles(t.Context(), a, s.set); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func TestTheSecondRegionIsACopyThatFollows(t *testing.T) {
	s := newStage(t)
	b := s.postgres(t, layout.B)
	a := s.primary(t)
	// What an attempt that was killed has left is no obstacle.
	if err := os.MkdirAll(b.DataDir+".clone/base", 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := bootstrap.CloneStandby(t.Context(), a, b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(b.DataDir + "/standby.signal"); err != nil {
		t.Fatal(err)
	}
	if leftover, _ := filepath.Glob(b.DataDir + ".*"); len(leftover) > 0 {
		t.Errorf("left over: %v", leftover)
	}
	s.startPostgres(t, b)
	if _, err := ask(t.Context(), a, "ofitec_prod", "INSERT INTO ofitec.heartbeat VALUES (1, 7, now(), 1, 'a') RETURNING region"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the row arrives", func(ctx context.Context) error {
		got, err := ask(ctx, b, "ofitec_prod", "SELECT number || ' ' || pg_is_in_recovery() FROM ofitec.heartbeat")
		if err == nil && got != "7 true" {
			err = fmt.Errorf("got %s", got)
		}
		return err
	})
	if slot, err := ask(t.Context(), a, "postgres", "SELECT slot_name || ' ' || active FROM pg_replication_slots"); err != nil || slot != "region_b true" {
		t.Errorf("slot %q, %v", slot, err)
	}
}

func TestACloneThatCannotFinishLeavesNoCluster(t *testing.T) {
	s := newStage(t)
	b := s.postgres(t, layout.B)
	a := s.primary(t)
	if err := os.WriteFile(b.PassFile, []byte("*:*:*:*:wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := bootstrap.CloneStandby(t.Context(), a, b)
	if err == nil || !strings.Contains(err.Error(), "authentication failed") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(b.DataDir); !os.IsNotExist(err) {
		t.Errorf("there is a data folder: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bootstrap.CloneStandby(ctx, a, b); err == nil {
		t.Error("a cancelled clone succeeded")
	}
}

func TestAFolderThatHoldsSomethingElseIsLeftAlone(t *testing.T) {
	s := newStage(t)
	a := s.postgres(t, layout.A)
	stray := a.DataDir + "/precious"
	if err := os.MkdirAll(a.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, act := range map[string]func() error{
		"init":  func() error { return bootstrap.InitPrimary(t.Context(), a) },
		"clone": func() error { return bootstrap.CloneStandby(t.Context(), a, a) },
	} {
		if err := act(); err == nil || !strings.Contains(err.Error(), a.DataDir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(stray); err != nil {
		t.Error(err)
	}
}

// proxy forwards a region's database port to its server, from the proxy's address.
func (s *stage) proxy(t *testing.T, r layout.Region) {
	t.Helper()
	listener, err := net.Listen("tcp", s.layout.Addressing.Addr(r, layout.PortDatabaseProxy))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.layout.Addressing.ProxySource[r])}, Timeout: time.Second}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = client.Close() }()
				server, err := dialer.Dial("tcp", s.layout.Addressing.Addr(r, layout.PortPostgres))
				if err != nil {
					return
				}
				defer func() { _ = server.Close() }()
				go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
}
