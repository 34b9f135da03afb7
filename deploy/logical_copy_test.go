package deploy_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/postgrestest"
)

// recipe is the SQL of the page, by the names of its blocks.
func recipe(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/logical-replication.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, found := range regexp.MustCompile("(?s)```sql ([a-z]+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		blocks[found[1]] = found[2]
	}
	for _, name := range []string{"level", "keyless", "publish", "subscribe", "lag", "rebuild"} {
		if blocks[name] == "" {
			t.Fatalf("the page has no block %q", name)
		}
	}
	return blocks
}

// script runs statements one by one, as an operator's psql does.
func script(t *testing.T, d *postgrestest.Database, database, sql string) string {
	t.Helper()
	command := d.Command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", d.SocketDir, "-p", d.Port, "-U", "postgres", "-d", database)
	command.Stdin = strings.NewReader(sql)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// flippedName is where the name leads: the active region's database proxy, which passes connections on from its own address.
type flippedName struct {
	port   string
	target atomic.Value // host:port of the region's PostgreSQL; empty while no proxy is open
}

func newFlippedName(t *testing.T, target, source string) *flippedName {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	d := &flippedName{port: port}
	d.target.Store(target)
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 5 * time.Second}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := from.Dial("tcp", d.target.Load().(string))
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return d
}

func eventually(t *testing.T, what string, is func() string, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got = is(); got == want {
			return
		}
	}
	t.Fatalf("%s: %q, want %q", what, got, want)
}

// TestALogicalCopyFollowsTheActiveRegionByTheRecipe runs the page's own SQL: region a, its standby b, and a copy beside them; then a dies and b takes over.
func TestALogicalCopyFollowsTheActiveRegionByTheRecipe(t *testing.T) {
	steps := recipe(t)
	a := postgrestest.Start(t, true)
	script(t, a, "postgres", steps["level"])
	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "fast", "stop")
	a.Start(t)
	a.Super(t, "ofitec_prod", "SET ROLE odoo_owner; CREATE TABLE invoice (invoice_id bigint PRIMARY KEY, amount numeric); INSERT INTO invoice VALUES (1, 10), (2, 20)")
	a.Super(t, "ofitec_prod", "CREATE TABLE keyless (note text)")
	if got := script(t, a, "ofitec_prod", steps["keyless"]); got != "keyless" {
		t.Errorf("tables without a key are %q", got)
	}
	a.Super(t, "ofitec_prod", "DROP TABLE keyless")
	script(t, a, "ofitec_prod", steps["publish"])
	verifier, err := deploy.SCRAMVerifier(postgrestest.Password, []byte("sixteen bytes of"))
	if err != nil {
		t.Fatal(err)
	}
	a.Super(t, "postgres", "ALTER ROLE ofitec_copy PASSWORD '"+verifier+"'")

	b := postgrestest.New(t, "region_b", &a.TLS)
	b.Upstream = a.Listen
	b.Configure(t, true)
	host, port, _ := net.SplitHostPort(a.Listen)
	b.Run(t, "pg_basebackup", "-D", b.DataDir, "-X", "stream", "-c", "fast", "--no-sync", "-C", "-S", b.Name, "-d",
		fmt.Sprintf("host=%s port=%s user=ofitec_replication passfile=%s sslmode=verify-full sslrootcert=%s", host, port, b.PassFile, b.TLS.CA))
	b.Write(t, b.DataDir+"/standby.signal", nil)
	b.Start(t)

	name := newFlippedName(t, a.Listen, a.ProxySource)
	analysis := postgrestest.New(t, "region_c", &a.TLS)
	analysis.Configure(t, false)
	analysis.Init(t)
	analysis.Start(t)
	analysis.Super(t, "postgres", "CREATE DATABASE analysis")
	analysis.Super(t, "analysis", "CREATE TABLE invoice (invoice_id bigint PRIMARY KEY, amount numeric)")
	passfile := analysis.Dir + "/copy.pass"
	analysis.Write(t, passfile, []byte("*:*:*:ofitec_copy:"+postgrestest.Password+"\n"))
	subscribe := strings.NewReplacer("host=erp.ofitec.test port=5432", "host=127.0.0.1 port="+name.port,
		"/etc/ofitec/copy.pass", passfile, "/etc/ofitec/ca.crt", a.TLS.CA).Replace(steps["subscribe"])
	script(t, analysis, "analysis", subscribe)
	rows := func() string {
		return analysis.Super(t, "analysis", "SELECT count(*) || ' rows, ' || sum(amount) FROM invoice")
	}
	eventually(t, "the copy has the first rows", rows, "2 rows, 30")
	a.Super(t, "ofitec_prod", "INSERT INTO invoice VALUES (3, 30); UPDATE invoice SET amount = 11 WHERE invoice_id = 1; DELETE FROM invoice WHERE invoice_id = 2")
	eventually(t, "the copy follows", rows, "2 rows, 41")
	eventually(t, "the slot says how far it is", func() string { return script(t, a, "ofitec_prod", steps["lag"]) }, "reserved|0")

	// a dies. What the copy has of it and b has not is what a new slot alone would leave there.
	eventually(t, "b has all", func() string {
		return b.Super(t, "ofitec_prod", "SELECT count(*) FROM invoice WHERE amount IN (11, 30)")
	}, "2")
	b.Super(t, "postgres", "SELECT pg_wal_replay_pause()")
	a.Super(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'region_b'")
	b.Run(t, "pg_ctl", "-w", "-D", b.DataDir, "-m", "fast", "stop")
	a.Super(t, "ofitec_prod", "INSERT INTO invoice VALUES (4, 1000)")
	eventually(t, "the copy has what b never gets", rows, "3 rows, 1041")
	name.target.Store("") // nobody is active
	a.Run(t, "pg_ctl", "-w", "-D", a.DataDir, "-m", "immediate", "stop")
	b.Start(t)
	b.Super(t, "postgres", "SELECT pg_promote()")
	name.target.Store(b.Listen)
	b.Super(t, "ofitec_prod", "INSERT INTO invoice VALUES (5, 5)")
	if got := script(t, b, "ofitec_prod", steps["lag"]); got != "" {
		t.Errorf("the region that took over has a slot: %s", got)
	}
	script(t, analysis, "analysis", steps["rebuild"])
	script(t, analysis, "analysis", subscribe)
	eventually(t, "the copy has what the active region has", rows, "3 rows, 46")
	b.Super(t, "ofitec_prod", "UPDATE invoice SET amount = 6 WHERE invoice_id = 5")
	eventually(t, "the copy follows the region that took over", rows, "3 rows, 47")
}
