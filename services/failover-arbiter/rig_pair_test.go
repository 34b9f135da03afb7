package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/epochfile"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/hands"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/supervisor"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// side is one region of a pair: a real PostgreSQL with its supervisor, and hands that work on them in this process. The failover's state is what the test says.
type side struct {
	*database
	region  events.Region
	hands   *hands.Hands
	state   *atomic.Pointer[state.Failover] // of both sides
	files   *cluster.Cluster
	options hands.Options
	stop    func() // of the hands, as by a crash: what they do is cut off

	mu       sync.Mutex
	reported state.Report
	opened   map[haproxy.Pool]bool
}

// startPair makes region a a primary and b its standby, with hands at work in both. Nobody is active yet.
func startPair(t *testing.T) (a, b *side) {
	t.Helper()
	return startPairOn(t, func(*database) {})
}

// startPairOn prepares the folder of a's database first.
func startPairOn(t *testing.T, prepare func(*database)) (a, b *side) {
	t.Helper()
	return startPairAs(t, func(*deploy.Postgres) {}, prepare, func(*side) {})
}

// startPairAs also changes the settings of both servers, and what their hands work with.
func startPairAs(t *testing.T, settle func(*deploy.Postgres), prepare func(*database), equip func(*side)) (a, b *side) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
	current := &atomic.Pointer[state.Failover]{}
	first := newDatabase(t, "region_a", nil)
	second := newDatabase(t, "region_b", &first.TLS)
	first.Upstream, second.Upstream = second.Listen, first.Listen
	a, b = newSide(t, first, events.RegionA, current), newSide(t, second, events.RegionB, current)
	settle(&a.Postgres)
	settle(&b.Postgres)
	a.Configure(t, false)
	b.Configure(t, false)
	prepare(a.database)
	a.Establish(t)
	_, err := b.options.Upstream.Prepare(context.Background(), 0)
	must(t, err)
	_, err = b.files.Copy(context.Background(), b.options.Source)
	must(t, err)
	b.Start(t)
	equip(a)
	equip(b)
	a.work(t)
	b.work(t)
	return a, b
}

func newSide(t *testing.T, d *database, region events.Region, current *atomic.Pointer[state.Failover]) *side {
	t.Helper()
	s := &side{database: d, region: region, state: current, files: cluster.New("/usr/lib/postgresql/15/bin", d.DataDir), opened: map[haproxy.Pool]bool{}}
	var port uint16
	_, err := fmt.Sscan(d.Port, &port)
	must(t, err)
	server := postgres.New(d.SocketDir, port, d.ConfDir, slog.New(slog.DiscardHandler))
	t.Cleanup(server.Close)
	upstream := postgres.Upstream{Address: d.Upstream, PassFile: d.PassFile, CAFile: d.TLS.CA, Slot: hands.SlotOf(region)}
	conninfo, rewind, err := upstream.ConnInfo()
	must(t, err)
	epochs, err := epochfile.Open(t.TempDir())
	must(t, err)
	p := timing.Local()
	s.options = hands.Options{
		Region: region, Proxy: pairProxy{s}, Database: server, Branching: server, Mirror: server, Door: postgres.Door{Address: d.Listen, Source: d.ProxySource},
		Supervisor: supervisor.New(s.supervise(t)), Cluster: s.files, Upstream: upstream, Source: cluster.Source{ConnInfo: conninfo, Slot: upstream.Slot, Rewind: rewind}, Epochs: epochs,
		Reports: pairReports{s}, Incarnation: "f.p", State: current.Load, Now: clock.Now, Log: slog.New(slog.NewTextHandler(logOf{t, string(region)}, nil)),
		Learned: func(context.Context, mandate.Learned) {}, Every: 100 * time.Millisecond, Deadline: 2 * time.Second, FenceIn: p.Fence, Pause: p.AuthenticationTimeout,
		PromoteIn: 10 * time.Second,
	}
	return s
}

// work starts the hands, as a new process has them.
func (s *side) work(t *testing.T) {
	t.Helper()
	s.hands = hands.New(s.options)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.hands.Run(ctx) }()
	s.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(s.stop)
}

// supervise serves the region's supervisor socket in the way of package deploy/local: no start while a rejoin is in progress or without a cluster, and always fenced.
func (s *side) supervise(t *testing.T) (socket string) {
	t.Helper()
	socket = s.Dir + "/supervisor"
	listener, err := net.Listen("unix", socket)
	must(t, err)
	reply := func(w http.ResponseWriter, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/units/postgres/start", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.boot()) })
	mux.HandleFunc("POST /v1/units/postgres/stop", func(w http.ResponseWriter, r *http.Request) {
		var request struct{ Mode string }
		_ = json.NewDecoder(r.Body).Decode(&request)
		if s.runs() {
			out, err := s.Command("pg_ctl", "-w", "-D", s.DataDir, "-m", request.Mode, "stop").CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			reply(w, err)
		}
	})
	mux.HandleFunc("GET /v1/units/postgres", func(w http.ResponseWriter, _ *http.Request) {
		status := supervisor.Status{State: "stopped"}
		if s.runs() {
			status.State = "ready"
		}
		_ = json.NewEncoder(w).Encode(status)
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
}

func (s *side) runs() bool {
	return s.Command("pg_ctl", "-D", s.DataDir, "status").Run() == nil
}

func (s *side) boot() error {
	if _, err := os.Stat(s.Dir + "/rejoin.inprogress"); err == nil {
		return fmt.Errorf("held: a rejoin is in progress")
	}
	if _, err := os.Stat(s.DataDir + "/PG_VERSION"); err != nil {
		return fmt.Errorf("held: no cluster")
	}
	if s.runs() {
		return nil
	}
	fenced, err := os.ReadFile(s.ConfDir + "/pg_hba.fenced.conf")
	if err == nil {
		err = os.WriteFile(s.ConfDir+"/pg_hba.conf", fenced, 0o600)
	}
	if err != nil {
		return err
	}
	_ = os.Remove(s.DataDir + "/postmaster.pid")
	out, err := s.Command("pg_ctl", "-W", "-D", s.DataDir, "-l", s.Dir+"/log", "-o", "-c fsync=off -c config_file="+s.ConfDir+"/postgresql.conf", "start").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// is puts the failover's state in force and gives the mandate to its owner, as the keepers would.
func (s *side) is(f state.Failover) {
	s.state.Store(&f)
	if f.Active == s.region && f.Intent == nil {
		s.hands.Open(f.Epoch)
	} else {
		s.hands.Close("test")
		s.hands.Fence(f.Epoch)
	}
}

func (s *side) report() state.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reported
}

func (s *side) open() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[haproxy.Database]
}

type pairProxy struct{ *side }

func (p pairProxy) set(pool haproxy.Pool, open bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opened[pool] = open
	return nil
}
func (p pairProxy) Open(_ context.Context, pool haproxy.Pool) error  { return p.set(pool, true) }
func (p pairProxy) Close(_ context.Context, pool haproxy.Pool) error { return p.set(pool, false) }
func (p pairProxy) Opened(context.Context) (map[haproxy.Pool]bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[haproxy.Pool]bool{haproxy.Database: p.opened[haproxy.Database], haproxy.Read: p.opened[haproxy.Read]}, nil
}

type pairReports struct{ *side }

func (r pairReports) Put(_ context.Context, report state.Report) error {
	if err := report.Validate(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reported = report
	return nil
}

// logOf shows the hands' log with the test's.
type logOf struct {
	t      *testing.T
	region string
}

func (l logOf) Write(line []byte) (int, error) {
	l.t.Logf("%s: %s", l.region, strings.TrimSpace(string(line)))
	return len(line), nil
}

// kept counts what is kept beside PGDATA of a cluster that was replaced, or of a rewound one's WAL.
func (s *side) kept(name string) int {
	entries, _ := os.ReadDir(filepath.Join(s.Dir, name)) // none when there is no such folder
	return len(entries)
}
