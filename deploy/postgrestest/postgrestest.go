// Package postgrestest starts real PostgreSQL 15 servers for tests, from the files that deploy renders. It is for tests only, and skips them where
// PostgreSQL is not installed.
package postgrestest

import (
	"bytes"
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

	"github.com/ofitec/ofitec/deploy"
)

// BinDir is where Debian keeps the server's programs.
const BinDir = "/usr/lib/postgresql/15/bin"

// Password is that of all roles that MakeRoles makes.
const Password = "pass-word_of-the-stage_1"

// Database is a server of a test's own, in a folder short enough for Unix sockets and outside t.TempDir, whose parents the server's user may not enter.
// Its fields may be changed before Configure.
type Database struct {
	deploy.Postgres
	Dir     string
	Port    string
	Account *syscall.Credential // who runs it; nil: who runs the test
}

// Start gives a server that runs, with all roles. Open lets through whom its proxy lets through; otherwise it starts fenced, as a region does.
func Start(t *testing.T, open bool) *Database {
	t.Helper()
	d := New(t, "region_a", nil)
	d.Configure(t, open)
	d.Establish(t)
	return d
}

// New makes the folders of a server that does not exist yet; certificates are those of another one, or new. The test's end stops and removes it.
func New(t *testing.T, name string, shared *deploy.TLSFiles) *Database {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real PostgreSQL")
	}
	if _, err := os.Stat(BinDir + "/initdb"); err != nil {
		t.Skip("PostgreSQL 15 is not installed: this is tested where it is")
	}
	d := &Database{Account: account(t)}
	d.Dir = d.folder(t)
	for _, folder := range []string{"conf", "sock", "tls"} {
		path := filepath.Join(d.Dir, folder)
		must(t, os.Mkdir(path, 0o700))
		d.Own(t, path)
	}
	if shared == nil {
		files := d.certificates(t)
		must(t, os.Chmod(d.Dir, 0o711)) //nolint:gosec // an own authority is read by all
		shared = &files
	}
	current, err := user.Current()
	must(t, err)
	d.Postgres = deploy.Postgres{
		Name: name, Listen: FreeAddr(t), SocketDir: d.Dir + "/sock", ConfDir: d.Dir + "/conf", DataDir: d.Dir + "/data",
		TLS: *shared, ProxySource: "127.0.0.111", Regions: []string{"127.0.0.1"}, Peers: []string{"127.0.0.1"},
		SuperuserOSUsers: []string{"postgres", current.Username}, SharedBuffers: "16MB", MaxConnections: 40, PassFile: d.Dir + "/pgpass",
	}
	if current.Username == "postgres" {
		d.SuperuserOSUsers = d.SuperuserOSUsers[:1]
	}
	_, d.Port, _ = net.SplitHostPort(d.Listen)
	t.Cleanup(func() {
		_ = d.Command("pg_ctl", "-D", d.DataDir, "-m", "immediate", "stop").Run() // it may be stopped
		if t.Failed() {
			log, _ := os.ReadFile(d.Dir + "/log")
			t.Logf("postgres of %s said:\n%s", d.Name, log)
		}
	})
	return d
}

// Configure writes what stands outside PGDATA; with an upstream also the passwords that a standby needs.
func (d *Database) Configure(t *testing.T, open bool) {
	t.Helper()
	files := map[string]func() ([]byte, error){
		"postgresql.conf": d.RenderConf, "pg_hba.conf": d.RenderHBAFenced, "pg_hba.fenced.conf": d.RenderHBAFenced, "pg_hba.open.conf": d.RenderHBAOpen, "pg_ident.conf": d.RenderIdent,
	}
	if open {
		files["pg_hba.conf"] = d.RenderHBAOpen
	}
	for name, render := range files {
		content, err := render()
		must(t, err)
		d.Write(t, filepath.Join(d.ConfDir, name), content)
	}
	if d.Upstream != "" {
		replication, err := deploy.PassFileLine(d.Upstream, "replication", "ofitec_replication", Password)
		must(t, err)
		rewind, err := deploy.PassFileLine(d.Upstream, "postgres", "ofitec_rewind", Password)
		must(t, err)
		d.Write(t, d.PassFile, []byte(replication+rewind))
	}
}

// Init makes an empty cluster into which nobody may log in but the superuser over the Unix socket.
func (d *Database) Init(t *testing.T) {
	t.Helper()
	d.Run(t, "initdb", "-k", "-U", "postgres", "-A", "reject", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D", d.DataDir)
}

// Establish gives a server that runs, with all roles, as Init, Start and MakeRoles do after each other. The first one of a test's process is made so; the others begin as copies of what
// it was then, and have its system identifier.
func (d *Database) Establish(t *testing.T) {
	t.Helper()
	established.Lock()
	defer established.Unlock()
	if established.tar == nil {
		d.Init(t)
		d.Start(t)
		d.MakeRoles(t)
		d.Run(t, "pg_ctl", "-w", "-D", d.DataDir, "-m", "fast", "stop")
		packed, err := d.command("/bin/tar", "-cf", "-", "-C", d.DataDir, ".").Output()
		must(t, err)
		established.tar = packed
	} else {
		unpack := d.command("/bin/sh", "-c", `mkdir -p "$1" && tar -xpf - -C "$1"`, "sh", d.DataDir)
		unpack.Stdin = bytes.NewReader(established.tar)
		if out, err := unpack.CombinedOutput(); err != nil {
			t.Fatalf("copy the first cluster: %v\n%s", err, out)
		}
	}
	d.Start(t)
}

// established is the first cluster with all roles, nil before.
var established struct {
	sync.Mutex
	tar []byte
}

// Start starts the server and waits for it.
func (d *Database) Start(t *testing.T) {
	t.Helper()
	d.Run(t, "pg_ctl", "-w", "-D", d.DataDir, "-l", d.Dir+"/log", "-o", "-c fsync=off -c config_file="+d.ConfDir+"/postgresql.conf", "start")
}

// MakeRoles makes the databases and roles of a region.
func (d *Database) MakeRoles(t *testing.T) {
	t.Helper()
	verifiers := map[string]string{}
	for _, role := range deploy.PostgresLoginRoles {
		verifier, err := deploy.SCRAMVerifier(Password, []byte("sixteen bytes of"))
		must(t, err)
		verifiers[role] = verifier
	}
	scripts, err := deploy.PostgresRoles{Verifiers: verifiers}.Scripts()
	must(t, err)
	for _, script := range scripts {
		if script.Unless == "" || d.Super(t, script.Database, script.Unless) == "" {
			d.Super(t, script.Database, script.SQL)
		}
	}
}

// Command is a program of PostgreSQL, run as the server's user.
func (d *Database) Command(program string, args ...string) *exec.Cmd {
	return d.command(BinDir+"/"+program, args...)
}

func (d *Database) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...) //nolint:noctx // the caller ends it
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C.UTF-8", "HOME=/nonexistent", "PATH=/usr/bin:/bin"}
	if d.Account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.Account}
	}
	return cmd
}

// Run runs a program to its end. Its output goes to a file: through a pipe, a server that it starts would keep the test waiting.
func (d *Database) Run(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	must(t, err)
	defer out.Close()
	cmd := d.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		t.Fatalf("%s: %v\n%s", program, err, text)
	}
}

// Super runs SQL as the superuser over the Unix socket and gives what psql printed.
func (d *Database) Super(t *testing.T, database, sql string) string {
	t.Helper()
	out, err := d.Command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", d.SocketDir, "-p", d.Port, "-U", "postgres", "-d", database, "-c", sql).CombinedOutput()
	if err != nil {
		t.Fatalf("superuser in %s: %v\n%s", database, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Write writes a file of the server's user.
func (d *Database) Write(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o600))
	d.Own(t, path)
}

// Own gives a file to whoever runs the server.
func (d *Database) Own(t *testing.T, path string) {
	t.Helper()
	if d.Account != nil {
		must(t, os.Chown(path, int(d.Account.Uid), int(d.Account.Gid)))
	}
}

func (d *Database) folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "of")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d.Own(t, dir)
	return dir
}

// account is who runs servers: PostgreSQL refuses to run as root.
func account(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	found, err := user.Lookup("postgres")
	if err != nil {
		t.Skip("PostgreSQL does not run as root and there is no user postgres")
	}
	uid, _ := strconv.Atoi(found.Uid)
	gid, _ := strconv.Atoi(found.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

var given sync.Map // addresses that FreeAddr has given

// FreeAddr is a host:port of the loopback at which nothing listens at the moment; it gives none twice.
func FreeAddr(t *testing.T) string {
	t.Helper()
	for {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		must(t, err)
		address := listener.Addr().String()
		must(t, listener.Close())
		if _, again := given.LoadOrStore(address, true); !again {
			return address
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
