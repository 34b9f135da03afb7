package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is a PostgreSQL of the test's own, in a folder that the postgres user may enter.
type server struct {
	t         *testing.T
	dir, data string
	port      int
	bin       string
	as        *syscall.Credential
}

func newServer(t *testing.T, name string) *server {
	t.Helper()
	out, err := exec.Command("pg_config", "--bindir").Output()
	if err != nil {
		t.Skip("PostgreSQL 15 is not installed: pg_config does not answer")
	}
	// Not t.TempDir: its parents have mode 0700. And a short path, for the socket.
	dir, err := os.MkdirTemp("/tmp", "odoo-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &server{t: t, dir: dir, data: filepath.Join(dir, name), port: freePort(t), bin: strings.TrimSpace(string(out))}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		postgres, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("there is no user postgres")
		}
		uid, _ := strconv.Atoi(postgres.Uid)
		gid, _ := strconv.Atoi(postgres.Gid)
		s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func startPrimary(t *testing.T) *server {
	t.Helper()
	s := newServer(t, "p")
	s.run("initdb", "-D", s.data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")
	s.start()
	s.sql("CREATE ROLE odoo_owner NOLOGIN; CREATE ROLE odoo_bootstrap LOGIN NOINHERIT IN ROLE odoo_owner; ALTER ROLE odoo_bootstrap SET role = 'odoo_owner'")
	s.sql("CREATE DATABASE ofitec_prod OWNER odoo_owner")
	return s
}

func (s *server) standby() *server {
	s.t.Helper()
	b := newServer(s.t, "s")
	b.run("pg_basebackup", "-D", b.data, "-d", s.url("postgres", "postgres"), "-R", "-c", "fast", "--no-sync")
	b.start()
	return b
}

func (s *server) start() {
	s.t.Helper()
	options := fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories=%s -c fsync=off -c shared_buffers=16MB -c max_connections=100", s.port, s.dir)
	s.run("pg_ctl", "-D", s.data, "-w", "-l", filepath.Join(s.dir, "log"), "-o", options, "start")
	s.t.Cleanup(func() { _ = s.command("pg_ctl", "-D", s.data, "-m", "immediate", "stop").Run() })
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...)
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return c
}

func (s *server) run(name string, args ...string) {
	s.t.Helper()
	c := s.command(name, args...)
	log, err := os.CreateTemp("", "out") // not a pipe: the server would keep it open
	if err != nil {
		s.t.Fatal(err)
	}
	defer os.Remove(log.Name())
	c.Stdout, c.Stderr = log, log
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		s.t.Fatalf("%s: %v\n%s", name, err, text)
	}
}

func (s *server) url(user, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", user, s.port, database)
}

func (s *server) sql(text string) {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.url("postgres", "postgres"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.PgConn().Exec(context.Background(), text).ReadAll(); err != nil {
		s.t.Fatal(err)
	}
}

// scan asks the business database, as superuser.
func (s *server) scan(sql string, into ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(context.Background(), s.url("postgres", "ofitec_prod"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), sql).Scan(into...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// door is a database proxy: it opens and closes, and closing ends the sessions.
type door struct {
	listener net.Listener
	mu       sync.Mutex
	target   string // empty while closed
	sessions map[net.Conn]bool
}

func newDoor(t *testing.T) *door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{listener: l, sessions: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = l.Close(); d.close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.pass(conn)
		}
	}()
	return d
}

func (d *door) port() int { return d.listener.Addr().(*net.TCPAddr).Port }

func (d *door) open(s *server) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = fmt.Sprintf("127.0.0.1:%d", s.port)
}

func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = ""
	for conn := range d.sessions {
		_ = conn.Close()
	}
	clear(d.sessions)
}

func (d *door) pass(in net.Conn) {
	d.mu.Lock()
	target := d.target
	d.mu.Unlock()
	if target == "" {
		_ = in.Close()
		return
	}
	out, err := net.DialTimeout("tcp", target, time.Second)
	if err != nil {
		_ = in.Close()
		return
	}
	d.mu.Lock()
	d.sessions[in], d.sessions[out] = true, true
	d.mu.Unlock()
	go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
	_, _ = io.Copy(in, out)
	_ = in.Close()
}
