package deploy

import (
	"io"
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
)

// database is a real PostgreSQL server that runs from the rendered files.
type database struct {
	Postgres
	ca           authority
	dir, logFile string
	relay        string // a stand-in for the proxy: dials from ProxySource
	passwords    map[string]string
	account      *syscall.Credential // who runs the server; nil: who runs the test
	osUser       string
}

// startDatabase makes a cluster and starts it fenced, without roles.
func startDatabase(t *testing.T) *database {
	t.Helper()
	d := configureDatabase(t, newAuthority(t), "region_a", "127.0.0.1:1")
	d.as(t, "initdb", "-k", "-U", "postgres", "-A", "reject", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D", d.DataDir)
	d.start(t)
	return d
}

// configureDatabase writes all that a server needs beside its data.
func configureDatabase(t *testing.T, ca authority, name, upstream string) *database {
	t.Helper()
	program(t, "initdb")
	d := &database{dir: shortDir(t), ca: ca, passwords: map[string]string{}}
	uid := -1
	if current, _ := user.Current(); current.Uid == "0" {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("PostgreSQL does not run as root and there is no user postgres")
		}
		uid, _ = strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		d.account, d.osUser = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, "postgres"
	} else {
		d.osUser = current.Username
	}
	for _, folder := range []string{"", "conf", "sock", "tls"} {
		path := filepath.Join(d.dir, folder)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	d.Postgres = Postgres{
		Name: name, Listen: freeAddress(t), SocketDir: d.dir + "/sock", ConfDir: d.dir + "/conf", DataDir: d.dir + "/data",
		TLS: ca.issue(t, d.dir+"/tls", uid), ProxySource: "127.0.0.111", Regions: []string{"127.0.0.1"}, Peers: []string{"127.0.0.1"},
		SuperuserOSUsers: []string{d.osUser}, Upstream: upstream, PassFile: d.dir + "/passfile", SharedBuffers: "16MB", MaxConnections: 40,
	}
	d.file(t, "postgresql.conf", d.RenderConf)
	d.file(t, "pg_hba.conf", d.RenderHBAFenced)
	d.file(t, "pg_ident.conf", d.RenderIdent)
	d.relay = relay(t, d.ProxySource, d.Listen)
	return d
}

func (d *database) start(t *testing.T) {
	t.Helper()
	d.logFile = d.dir + "/log"
	d.as(t, "pg_ctl", "-w", "-D", d.DataDir, "-l", d.logFile, "-o", "-c config_file="+d.ConfDir+"/postgresql.conf", "start")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(d.logFile)
			t.Logf("postgres said:\n%s", log)
		}
		_ = d.command("pg_ctl", "-D", d.DataDir, "-m", "immediate", "stop").Run()
	})
}

func (d *database) file(t *testing.T, name string, content func() ([]byte, error)) {
	t.Helper()
	out, err := content()
	path := write(t, d.ConfDir, name, out, err)
	if d.account != nil {
		if err := os.Chown(path, int(d.account.Uid), -1); err != nil {
			t.Fatal(err)
		}
	}
}

func (d *database) command(name string, args ...string) *exec.Cmd {
	path := "/usr/lib/postgresql/15/bin/" + name
	if !executable(path) {
		path, _ = exec.LookPath(name)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "PGCONNECT_TIMEOUT=5", "LC_ALL=C.UTF-8", "HOME=/nonexistent")
	if d.account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: d.account}
	}
	return cmd
}

func (d *database) as(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := d.command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// super runs SQL as the superuser over the Unix socket, as one simple query.
func (d *database) super(t *testing.T, dbname, sql string) string {
	t.Helper()
	_, port, _ := net.SplitHostPort(d.Listen)
	out, err := d.command("psql", "-XAtq", "-h", d.SocketDir, "-p", port, "-U", "postgres", "-d", dbname, "-c", sql).CombinedOutput()
	if err != nil {
		t.Fatalf("superuser in %s: %v\n%s", dbname, err, out)
	}
	return strings.TrimSpace(string(out))
}

// login runs SQL as a role over TLS, through the proxy or straight, and returns what psql said.
func (d *database) login(address, role, dbname, sql string) (string, error) {
	host, port, _ := net.SplitHostPort(address)
	cmd := d.command("psql", "-XAtq", "-v", "VERBOSITY=terse",
		"host="+host+" port="+port+" user="+role+" dbname="+dbname+" sslmode=verify-full sslrootcert="+d.TLS.CA, "-c", sql)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+d.passwords[role])
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (d *database) reload(t *testing.T, hba func() ([]byte, error)) {
	t.Helper()
	d.file(t, "pg_hba.conf", hba)
	d.super(t, "postgres", "SELECT pg_reload_conf()")
	if bad := d.super(t, "postgres", "SELECT string_agg(error, '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL"); bad != "" {
		t.Fatalf("pg_hba.conf: %s", bad)
	}
}

// bootstrap runs the role scripts with a password of its own for each role.
func (d *database) bootstrap(t *testing.T) {
	t.Helper()
	verifiers := map[string]string{}
	for i, role := range PostgresLoginRoles {
		d.passwords[role] = "pass-word_" + strconv.Itoa(i)
		salt := []byte("sixteen bytes of" + strconv.Itoa(i))
		verifier, err := SCRAMVerifier(d.passwords[role], salt)
		if err != nil {
			t.Fatal(err)
		}
		verifiers[role] = verifier
	}
	scripts, err := PostgresRoles{Verifiers: verifiers}.Scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if script.Unless != "" && d.super(t, script.Database, script.Unless) != "" {
			continue
		}
		d.super(t, script.Database, script.SQL)
	}
}

// relay forwards TCP from the address of a proxy.
func relay(t *testing.T, source, target string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: time.Second}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := dialer.Dial("tcp", target)
				if err != nil {
					return
				}
				defer server.Close()
				go func() { _, _ = io.Copy(server, client); _ = server.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return l.Addr().String()
}
