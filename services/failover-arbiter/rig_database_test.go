package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
)

// database is a real PostgreSQL from deploy's files, fenced at its start and with all roles.
type database struct {
	deploy.Postgres
	dir     string
	port    string
	account *syscall.Credential // who runs it; nil: who runs the test
}

const password = "pass-word_1"

func startDatabase(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t, "region_a", nil)
	d.configure(t)
	d.init(t)
	d.start(t)
	d.makeRoles(t)
	return d
}

// newDatabase makes the folders of a server; certificates are those of another one, or new.
func newDatabase(t *testing.T, name string, shared *deploy.TLSFiles) *database {
	t.Helper()
	if _, err := os.Stat("/usr/lib/postgresql/15/bin/initdb"); err != nil {
		t.Skip("PostgreSQL 15 is not installed: the fence is tested where it is")
	}
	d := &database{dir: shortDir(t)}
	current, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	if uid == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("PostgreSQL does not run as root and there is no user postgres")
		}
		uid, _ = strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		d.account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	for _, folder := range []string{"", "conf", "sock", "tls"} {
		path := filepath.Join(d.dir, folder)
		must(t, os.MkdirAll(path, 0o700))
		must(t, os.Chown(path, uid, -1))
	}
	if shared == nil {
		files := certificates(t, d.dir+"/tls", uid)
		must(t, os.Chmod(d.dir, 0o711)) // an own authority is read by all
		shared = &files
	}
	d.Postgres = deploy.Postgres{
		Name: name, Listen: freeAddr(t), SocketDir: d.dir + "/sock", ConfDir: d.dir + "/conf", DataDir: d.dir + "/data",
		TLS: *shared, ProxySource: "127.0.0.111", Regions: []string{"127.0.0.1"}, Peers: []string{"127.0.0.1"},
		SuperuserOSUsers: []string{"postgres", current.Username}, SharedBuffers: "16MB", MaxConnections: 40, PassFile: d.dir + "/pgpass",
	}
	if current.Username == "postgres" {
		d.SuperuserOSUsers = d.SuperuserOSUsers[:1]
	}
	_, d.port, _ = net.SplitHostPort(d.Listen)
	t.Cleanup(func() {
		_ = d.command("pg_ctl", "-D", d.DataDir, "-m", "immediate", "stop").Run() // it may be stopped
		if t.Failed() {
			log, _ := os.ReadFile(d.dir + "/log")
			t.Logf("postgres of %s said:\n%s", d.Name, log)
		}
	})
	return d
}

// configure writes what stands outside PGDATA.
func (d *database) configure(t *testing.T) {
	t.Helper()
	for name, render := range map[string]func() ([]byte, error){
		"postgresql.conf": d.RenderConf, "pg_hba.conf": d.RenderHBAFenced, "pg_hba.fenced.conf": d.RenderHBAFenced, "pg_hba.open.conf": d.RenderHBAOpen, "pg_ident.conf": d.RenderIdent,
	} {
		content, err := render()
		must(t, err)
		d.write(t, filepath.Join(d.ConfDir, name), content)
	}
	if d.Upstream != "" {
		replication, err := deploy.PassFileLine(d.Upstream, "replication", "ofitec_replication", password)
		must(t, err)
		rewind, err := deploy.PassFileLine(d.Upstream, "postgres", "ofitec_rewind", password)
		must(t, err)
		d.write(t, d.PassFile, []byte(replication+rewind))
	}
}

// write writes a file of the server's user.
func (d *database) write(t *testing.T, path string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o600))
	if d.account != nil {
		must(t, os.Chown(path, int(d.account.Uid), int(d.account.Gid)))
	}
}

func (d *database) init(t *testing.T) {
	t.Helper()
	d.run(t, "initdb", "-k", "-U", "postgres", "-A", "reject", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D", d.DataDir)
}

func (d *database) start(t *testing.T) {
	t.Helper()
	d.run(t, "pg_ctl", "-w", "-D", d.DataDir, "-l", d.dir+"/log", "-o", "-c fsync=off -c config_file="+d.ConfDir+"/postgresql.conf", "start")
}

func (d *database) makeRoles(t *testing.T) {
	t.Helper()
	verifiers := map[string]string{}
	for _, role := range deploy.PostgresLoginRoles {
		verifier, err := deploy.SCRAMVerifier(password, []byte("sixteen bytes of"))
		must(t, err)
		verifiers[role] = verifier
	}
	scripts, err := deploy.PostgresRoles{Verifiers: verifiers}.Scripts()
	must(t, err)
	for _, script := range scripts {
		if script.Unless != "" && d.super(t, script.Database, script.Unless) != "" {
			continue
		}
		d.super(t, script.Database, script.SQL)
	}
}

func (d *database) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command("/usr/lib/postgresql/15/bin/"+program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C.UTF-8", "HOME=/nonexistent", "PATH=/usr/bin:/bin"}
	if d.account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.account}
	}
	return cmd
}

func (d *database) run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := d.command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// environment is what an arbiter must know of the database.
func (d *database) environment() []string {
	upstream := d.Upstream
	if upstream == "" {
		upstream = "127.0.0.1:1" // there is no other region
	}
	return []string{
		"OFITEC_POSTGRES_SOCKET_DIR=" + d.SocketDir, "OFITEC_POSTGRES_PORT=" + d.port, "OFITEC_POSTGRES_CONF_DIR=" + d.ConfDir,
		"OFITEC_POSTGRES_ADDRESS=" + d.Listen, "OFITEC_DATABASE_PROXY_SOURCE=" + d.ProxySource, "OFITEC_POSTGRES_BIN_DIR=/usr/lib/postgresql/15/bin",
		"OFITEC_POSTGRES_DATA_DIR=" + d.DataDir, "OFITEC_POSTGRES_UPSTREAM=" + upstream, "OFITEC_POSTGRES_PASS_FILE=" + d.dir + "/pgpass",
		"OFITEC_POSTGRES_CA_FILE=" + d.TLS.CA,
	}
}

// super runs SQL as the superuser over the Unix socket and gives what psql printed.
func (d *database) super(t *testing.T, database, sql string) string {
	t.Helper()
	out, err := d.command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", d.SocketDir, "-p", d.port, "-U", "postgres", "-d", database, "-c", sql).CombinedOutput()
	if err != nil {
		t.Fatalf("superuser in %s: %v\n%s", database, err, out)
	}
	return strings.TrimSpace(string(out))
}

// login opens a session of the application at an address.
func (d *database) login(ctx context.Context, address string) (*pgx.Conn, error) {
	return d.loginAs(ctx, address, "odoo_bootstrap")
}

func (d *database) loginAs(ctx context.Context, address, role string) (*pgx.Conn, error) {
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=ofitec_prod sslmode=verify-full sslrootcert=%s", host, port, role, password, d.TLS.CA))
}

// certificates makes a CA and one certificate for 127.0.0.1.
func certificates(t *testing.T, dir string, uid int) deploy.TLSFiles {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	caBytes, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.ParseIP("127.0.0.1")},
	}
	leafBytes, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(t, err)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	files := deploy.TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	for path, block := range map[string]*pem.Block{
		files.Cert: {Type: "CERTIFICATE", Bytes: leafBytes}, files.Key: {Type: "PRIVATE KEY", Bytes: keyBytes}, files.CA: {Type: "CERTIFICATE", Bytes: caBytes},
	} {
		must(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
		must(t, os.Chown(path, uid, -1))
	}
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Chmod(files.CA, 0o644))
	return files
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
