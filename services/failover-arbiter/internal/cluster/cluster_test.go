package cluster

import (
	"context"
	"fmt"
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

	"github.com/ofitec/ofitec/events"
)

const binDir = "/usr/lib/postgresql/15/bin"

// TestMain lets the test binary copy a cluster as a process of its own that dies where it is told to.
func TestMain(m *testing.M) {
	if at := os.Getenv("OFITEC_TEST_DIE_AT"); at != "" {
		c := New(binDir, os.Getenv("OFITEC_TEST_DATA"))
		c.step = func(name string) {
			if name == at {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		}
		var err error
		if fork := os.Getenv("OFITEC_TEST_REWIND_TO"); fork != "" {
			lsn, _ := events.ParseLSN(fork)
			control, _ := c.Control(context.Background())
			_, err = c.Rewind(context.Background(), os.Getenv("OFITEC_TEST_SOURCE"), control, lsn)
		} else {
			_, err = c.Copy(context.Background(), Source{ConnInfo: os.Getenv("OFITEC_TEST_SOURCE"), Slot: "region_b"})
		}
		fmt.Fprintln(os.Stderr, "it did not die:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// server is a real PostgreSQL without passwords, behind a Unix socket.
type server struct {
	dir, port string
	account   *syscall.Credential
}

func newServer(t *testing.T) *server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real PostgreSQL")
	}
	if _, err := os.Stat(binDir + "/initdb"); err != nil {
		t.Skip("PostgreSQL 15 is not installed: copies are tested where it is")
	}
	dir, err := os.MkdirTemp("/tmp", "of")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{dir: dir}
	if os.Geteuid() == 0 {
		account, err := user.Lookup("postgres")
		if err != nil {
			t.Skip("PostgreSQL does not run as root and there is no user postgres")
		}
		uid, _ := strconv.Atoi(account.Uid)
		gid, _ := strconv.Atoi(account.Gid)
		s.account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		must(t, os.Chown(dir, uid, gid))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, s.port, _ = net.SplitHostPort(listener.Addr().String()) // only a number in the socket's name
	must(t, listener.Close())
	t.Cleanup(s.stop)
	return s
}

func (s *server) data() string { return s.dir + "/data" }

func (s *server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(binDir+"/"+program, args...)
	cmd.Dir, cmd.Env = "/", []string{"LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"}
	if s.account != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account}
	}
	return cmd
}

func (s *server) run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (s *server) init(t *testing.T) {
	t.Helper()
	s.run(t, "initdb", "-k", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D", s.data())
}

// start starts it; upstream is followed by a standby.
func (s *server) start(t *testing.T, upstream *server) {
	t.Helper()
	options := "-c fsync=off -c shared_buffers=16MB -c listen_addresses='' -c wal_log_hints=on -c wal_keep_size=64MB -c unix_socket_directories=" + s.dir + " -p " + s.port
	if upstream != nil {
		options += fmt.Sprintf(" -c primary_slot_name=region_b -c primary_conninfo='%s'", upstream.conninfo())
	}
	s.run(t, "pg_ctl", "-w", "-D", s.data(), "-l", s.dir+"/log", "-o", options, "start")
}

func (s *server) stop() {
	_ = s.command("pg_ctl", "-w", "-D", s.data(), "-m", "immediate", "stop").Run() // it may be stopped
}

func (s *server) conninfo() string {
	return fmt.Sprintf("host=%s port=%s user=postgres", s.dir, s.port)
}

func (s *server) ask(t *testing.T, sql string) string {
	t.Helper()
	out, err := s.command("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", s.dir, "-p", s.port, "-U", "postgres", "-c", sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("never: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestACopyThatDiesAtAnyStepNeverLeavesASecondPrimary(t *testing.T) {
	source, target := newServer(t), newServer(t)
	source.init(t)
	source.start(t, nil)
	source.ask(t, "SELECT pg_create_physical_replication_slot('region_b', true); CREATE TABLE t (n int)")
	from := Source{ConnInfo: source.conninfo(), Slot: "region_b"}
	c := New(binDir, target.data())
	target.init(t)
	must(t, os.WriteFile(target.data()+"/diverged", nil, 0o644)) // it has been a primary of its own
	first := target.dir + "/first"
	must(t, os.Rename(target.data(), first))
	for i, step := range []string{"begin", "clear", "copy", "mark", "keep", "replace", "end"} {
		for _, suffix := range []string{"", copySuffix, keptSuffix} {
			must(t, os.RemoveAll(target.data()+suffix))
		}
		if out, err := exec.Command("cp", "-a", first, target.data()).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		child := exec.Command(os.Args[0])
		child.Env = []string{"OFITEC_TEST_DIE_AT=" + step, "OFITEC_TEST_DATA=" + target.data(), "OFITEC_TEST_SOURCE=" + source.conninfo()}
		out, err := child.CombinedOutput()
		if child.ProcessState == nil || child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the child ended with %v\n%s", step, err, out)
		}
		found, err := c.Look()
		must(t, err)
		if held := found.InProgress || step == "begin"; !held {
			t.Errorf("dead at %q: a server could be started from %+v", step, found)
		}
		if step == "begin" && (!found.Exists || found.Standby) {
			t.Errorf("dead at %q: %+v, want the cluster as it was", step, found)
		}
		source.ask(t, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		await(t, "the slot is free", func() bool { return source.ask(t, "SELECT active FROM pg_replication_slots") == "f" })
		kept, err := c.Copy(context.Background(), from)
		must(t, err)
		if found, err := c.Look(); err != nil || found.InProgress || !found.Exists || !found.Standby {
			t.Errorf("after the copy that follows %q: %+v, %v", step, found, err)
		}
		if _, err := os.Stat(target.data() + keptSuffix + "/diverged"); err != nil {
			t.Errorf("dead at %q: the cluster that was replaced is not kept (%q): %v", step, kept, err)
		}
	}
	target.start(t, source)
	await(t, "it follows", func() bool { return target.ask(t, "SELECT count(*) FROM t") == "7" })
	if target.ask(t, "SELECT pg_is_in_recovery()") != "t" {
		t.Error("the copy is no standby")
	}
}

func TestDestroyedDataAreCopiedAnew(t *testing.T) {
	source, target := newServer(t), newServer(t)
	source.init(t)
	source.start(t, nil)
	source.ask(t, "SELECT pg_create_physical_replication_slot('region_b', true)")
	c := New(binDir, target.data())
	must(t, os.MkdirAll(target.data()+"/base", 0o700)) // a leftover
	if found, err := c.Look(); err != nil || found != (Condition{}) {
		t.Fatalf("%+v, %v", found, err)
	}
	if _, err := c.Control(context.Background()); err == nil {
		t.Error("pg_control of nothing was read")
	}
	kept, err := c.Copy(context.Background(), Source{ConnInfo: source.conninfo(), Slot: "region_b"})
	if err != nil || kept != "" {
		t.Fatalf("kept %q, %v", kept, err)
	}
	target.start(t, source)
	await(t, "it follows", func() bool {
		return target.ask(t, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
	})
}

func TestAStandbyReceivesTheShutdownCheckpointToItsEnd(t *testing.T) {
	a, b := newServer(t), newServer(t)
	a.init(t)
	a.start(t, nil)
	a.ask(t, "SELECT pg_create_physical_replication_slot('region_b', true); CREATE TABLE t AS SELECT generate_series(1, 1000) n")
	_, err := New(binDir, b.data()).Copy(context.Background(), Source{ConnInfo: a.conninfo(), Slot: "region_b"})
	must(t, err)
	b.start(t, a)
	received := func() events.LSN {
		lsn, err := events.ParseLSN(b.ask(t, "SELECT pg_last_wal_receive_lsn()"))
		must(t, err)
		return lsn
	}
	files := New(binDir, a.data())
	for round := range 3 { // at different places of a page
		await(t, "b streams", func() bool {
			return b.ask(t, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
		})
		if control, err := files.Control(context.Background()); err != nil || control.ShutDown {
			t.Errorf("while it runs: %+v, %v", control, err)
		}
		a.ask(t, fmt.Sprintf("INSERT INTO t SELECT generate_series(1, %d)", 1+37*round))
		a.run(t, "pg_ctl", "-w", "-D", a.data(), "-m", "fast", "stop")
		control, err := files.Control(context.Background())
		if err != nil || !control.ShutDown || control.Timeline != 1 {
			t.Fatalf("after the stop: %+v, %v", control, err)
		}
		await(t, "b has everything", func() bool { return received() >= control.End })
		if got := received(); got != control.End {
			t.Errorf("b has received up to %s, the shutdown checkpoint is said to end at %s", got, control.End)
		}
		if round < 2 {
			a.start(t, nil)
		}
	}
	b.ask(t, "SELECT pg_promote()")
	must(t, files.Follow())
	b.ask(t, "SELECT pg_create_physical_replication_slot('region_b', true)")
	a.start(t, b)
	await(t, "a follows b without a copy", func() bool {
		return a.ask(t, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming' AND received_tli = 2") == "1"
	})
}

func TestARewindThatDiesHalfwayIsHeldAndACopyHelps(t *testing.T) {
	a, b := newServer(t), newServer(t)
	a.init(t)
	a.start(t, nil)
	a.ask(t, "SELECT pg_create_physical_replication_slot('region_b', true); CREATE TABLE t (n int)")
	_, err := New(binDir, b.data()).Copy(context.Background(), Source{ConnInfo: a.conninfo(), Slot: "region_b"})
	must(t, err)
	b.start(t, a)
	await(t, "b streams", func() bool {
		return b.ask(t, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
	})
	b.ask(t, "SELECT pg_promote()")
	b.ask(t, "CHECKPOINT")
	a.ask(t, "INSERT INTO t VALUES (1)") // b never has it
	b.ask(t, "INSERT INTO t VALUES (2); SELECT pg_create_physical_replication_slot('region_b', true)")
	a.run(t, "pg_ctl", "-w", "-D", a.data(), "-m", "fast", "stop")
	fork := strings.Fields(b.ask(t, "SELECT pg_read_file('pg_wal/00000002.history')"))[1]

	child := exec.Command(os.Args[0])
	child.Env = []string{"OFITEC_TEST_DIE_AT=mark", "OFITEC_TEST_REWIND_TO=" + fork, "OFITEC_TEST_DATA=" + a.data(), "OFITEC_TEST_SOURCE=" + b.conninfo() + " dbname=postgres"}
	out, err := child.CombinedOutput()
	if child.ProcessState == nil || child.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended with %v\n%s", err, out)
	}
	files := New(binDir, a.data())
	if found, err := files.Look(); err != nil || !found.InProgress || found.Standby {
		t.Errorf("rewound, but not yet a standby: %+v, %v", found, err)
	}
	if segments, err := os.ReadDir(a.data() + keptSuffix + "-wal"); err != nil || len(segments) == 0 {
		t.Errorf("no WAL is kept: %v", err)
	}
	_, err = files.Copy(context.Background(), Source{ConnInfo: b.conninfo(), Slot: "region_b"})
	must(t, err)
	a.start(t, b)
	await(t, "a follows b", func() bool { return a.ask(t, "SELECT string_agg(n::text, ',') FROM t") == "2" })
	if a.ask(t, "SELECT pg_is_in_recovery()") != "t" {
		t.Error("a is no standby")
	}
}

func TestTheEndOfACheckpointGoesAroundPageHeaders(t *testing.T) {
	const segment = 16 << 20
	for begin, want := range map[events.LSN]events.LSN{
		0x3000028:             0x3000028 + 120,
		0x3002000 - 120:       0x3002000,
		0x3002000 - 112:       0x3002000 + 8 + 24,
		segment*4 - 64:        segment*4 + 56 + 40,
		segment*4 + 8192 - 64: segment*4 + 8192 + 56 + 24,
	} {
		if got := endOfCheckpoint(begin, segment); got != want {
			t.Errorf("from %s to %s, want %s", begin, got, want)
		}
	}
}

func TestAStopIsNotedAndForgotten(t *testing.T) {
	c := New(binDir, filepath.Join(t.TempDir(), "data"))
	is := func(want bool) {
		t.Helper()
		if found, err := c.Look(); err != nil || found.Stopped != want {
			t.Errorf("%+v, %v", found, err)
		}
	}
	is(false)
	for range 2 {
		must(t, c.NoteStop())
		is(true)
	}
	for range 2 {
		must(t, c.ForgetStop())
		is(false)
	}
}

func TestHowAStandbyWasMadeOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data")
	made := Remade{Manner: "rewound", Fork: 0x3000028, Discarded: 11, Kept: "there"}
	must(t, New(binDir, path).NoteRemade(made))
	if got, err := New(binDir, path).Remade(); err != nil || got == nil || *got != made {
		t.Errorf("%+v, %v", got, err)
	}
	for range 2 {
		must(t, New(binDir, path).ForgetRemade())
	}
	if got, err := New(binDir, path).Remade(); err != nil || got != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
