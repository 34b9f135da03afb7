package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	chassisetcd "github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// three are the regions as far as an arbiter sees them: two real databases with their proxies and supervisors, a real etcd and a real NATS, and one arbiter a region,
// each a process of its own. The observers are the test's: they publish what it says.
type three struct {
	t       *testing.T
	etcd    *etcdServer
	store   *chassisetcd.Client
	nats    string
	conn    *nats.Conn
	sides   map[events.Region]*side
	regions map[events.Region]*region
	arbiter map[events.Region]*exec.Cmd
	address map[events.Region]string
	cable   *cable                     // from region a's arbiter to etcd
	points  map[events.Region]pointsOf // nil: nobody writes down its steps

	down  map[events.Region]*atomic.Bool // what observers say of a region
	quiet map[events.Region]*atomic.Bool // an observer that says nothing

	mu   sync.Mutex
	told []events.Event
}

// startThree brings everything to where a is active, b follows, and an arbiter outside a leads.
func startThree(t *testing.T) *three {
	t.Helper()
	return startThreeAs(t, func(*three) {})
}

func startThreeAs(t *testing.T, equip func(*three)) *three {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real servers")
	}
	w := &three{
		t: t, etcd: newEtcd(t), nats: chassistest.NATS(t), sides: map[events.Region]*side{}, regions: map[events.Region]*region{}, arbiter: map[events.Region]*exec.Cmd{},
		address: map[events.Region]string{}, down: map[events.Region]*atomic.Bool{}, quiet: map[events.Region]*atomic.Bool{},
	}
	equip(w)
	w.etcd.start(t)
	w.cable = newCable(t, w.etcd.client.Host)
	store, err := chassisetcd.Connect(chassis.Settings{Etcd: chassis.EtcdSettings{Endpoints: []string{w.etcd.client.String()}}})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	w.store = store
	w.listen()
	a := newDatabase(t, "region_a", nil)
	b := newDatabase(t, "region_b", &a.TLS)
	a.Upstream, b.Upstream = b.Listen, a.Listen
	for name, d := range map[events.Region]*database{events.RegionA: a, events.RegionB: b} {
		w.sides[name] = newSide(t, d, name, &atomic.Pointer[state.Failover]{})
		d.Configure(t, false)
	}
	a.Establish(t)
	follower := w.sides[events.RegionB]
	_, err = follower.options.Upstream.Prepare(context.Background(), 0)
	must(t, err)
	_, err = follower.files.Copy(context.Background(), follower.options.Source)
	must(t, err)
	b.Start(t)
	for _, name := range events.Regions {
		w.down[name], w.quiet[name] = &atomic.Bool{}, &atomic.Bool{}
		w.address[name] = freeAddr(t)
		if name.HoldsData() {
			w.startProxies(name, "127.0.0.111")
		}
	}
	w.startArbiter(events.RegionC)
	await(t, 20*time.Second, "the arbiter of region c leads", func() bool {
		status, ok := w.judgement(events.RegionC)
		return ok && status.Term != 0
	})
	w.startArbiter(events.RegionA)
	w.startArbiter(events.RegionB)
	w.observe()
	await(t, 20*time.Second, "region a is open", w.regions[events.RegionA].open)
	await(t, 20*time.Second, "the leader hears everybody and could promote b", func() bool {
		status, ok := w.judgement(events.RegionC)
		return ok && status.Term != 0 && status.Trusted && status.Regions[events.RegionA].Fresh == 3 && status.Against == ""
	})
	a.Super(t, "ofitec_prod", "SET ROLE odoo_owner; CREATE TABLE ledger (n int)")
	return w
}

func (w *three) startProxies(name events.Region, source string) {
	w.t.Helper()
	d := w.sides[name].database
	r := &region{etcd: w.etcd, database: d, address: w.address[name], dir: shortDir(w.t)}
	r.proxy = deploy.HAProxyDB{
		HAProxyProcess: deploy.HAProxyProcess{Socket: r.dir + "/s", Metrics: freeAddr(w.t)},
		Bind:           freeAddr(w.t), ReadBind: freeAddr(w.t), Server: d.Listen, Source: source, Arbiter: r.address,
	}
	content, err := r.proxy.Render()
	must(w.t, err)
	must(w.t, os.WriteFile(r.dir+"/haproxy.cfg", content, 0o600))
	r.startProxy(w.t)
	w.regions[name] = r
}

// startArbiter starts a region's arbiter, in the folder that an earlier one had.
func (w *three) startArbiter(name events.Region) {
	w.t.Helper()
	common := []string{"OFITEC_REGION=" + string(name), "NATS_URL=" + w.nats}
	if w.points != nil {
		common = append(common, pointsVariable+"="+string(w.points[name]))
	}
	if name == events.RegionA {
		common = append(common, "ETCD_ENDPOINTS="+w.cable.address)
	}
	if name.HoldsData() {
		w.arbiter[name] = w.regions[name].arbiter(w.t, "arbiter", w.address[name], append(common, "OFITEC_SUPERVISOR_SOCKET="+w.sides[name].Dir+"/supervisor")...)
		return
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(common, "OFITEC_TEST_RUN_AS_SERVICE=1", "OFITEC_HTTP_ADDR="+w.address[name], "OFITEC_DATA_DIR="+filepath.Join(w.t.TempDir(), "arbiter"), "ETCD_ENDPOINTS="+w.etcd.client.String())
	start(w.t, cmd)
	w.arbiter[name] = cmd
}

// listen makes the streams, and collects what is said of failovers.
func (w *three) listen() {
	w.t.Helper()
	conn, err := nats.Connect(w.nats)
	must(w.t, err)
	w.t.Cleanup(conn.Close)
	w.conn = conn
	js, err := jetstream.New(conn)
	must(w.t, err)
	_, err = bus.Provision(context.Background(), js, bus.Setup{Replicas: 1, MaxBytes: map[string]int64{events.StreamHealth: 64 << 20}})
	must(w.t, err)
	_, err = conn.Subscribe("ofitec.*.failover.>", func(m *nats.Msg) {
		event, err := events.Decode(m.Data)
		if err != nil {
			w.t.Errorf("an event that is none: %v", err)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !slices.ContainsFunc(w.told, func(e events.Event) bool { return e.MsgID() == event.MsgID() }) {
			w.told = append(w.told, event)
		}
	})
	must(w.t, err)
}

// facts are the facts that were told so far, in order.
func (w *three) facts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var facts []string
	for _, event := range w.told {
		facts = append(facts, event.Type.Fact())
	}
	return facts
}

// payload is the first event of a type that was told.
func payload[P events.Payload](w *three) (P, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range w.told {
		if decoded, err := event.Payload(); err == nil {
			if p, ok := decoded.(P); ok {
				return p, true
			}
		}
	}
	var none P
	return none, false
}

// observe publishes, for every observer that is not quiet, a real observation of each data region twice a second.
func (w *three) observe() {
	ctx, cancel := context.WithCancel(context.Background())
	var working sync.WaitGroup
	for _, observer := range events.Regions {
		working.Go(func() {
			ticker := time.NewTicker(500 * time.Millisecond)
			defer ticker.Stop()
			rows := map[events.Region]int{}
			for number := int64(1); ; number++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				for _, target := range events.DataRegions {
					if !w.quiet[observer].Load() {
						w.publish(w.seen(observer, target, number, rows))
					}
				}
			}
		})
	}
	w.t.Cleanup(func() { cancel(); working.Wait() })
}

func (w *three) seen(observer, target events.Region, number int64, rows map[events.Region]int) events.HealthObserved {
	zero, up := 0.0, true
	seen := events.HealthObserved{
		Observer: observer, Incarnation: "i1", Number: number, Target: target, ObservedAt: time.Now().UTC(), Verdict: events.OutcomeOK,
		Checks: events.Checks{Postgres: &events.CheckResult{Outcome: events.OutcomeOK}}, SuccessesInRow: 1,
		Gates: &events.Gates{Healthy: events.OutcomeOK, P95Seconds: &zero, ErrorRate: &zero, OdooUp: &up, ReplicationLag: &zero},
	}
	rows[target]++
	if !w.down[target].Load() {
		rows[target] = 0
		return seen
	}
	seen.Verdict, seen.SuccessesInRow, seen.FailuresInRow = events.OutcomeFailed, 0, rows[target]
	seen.Checks.Postgres = &events.CheckResult{Outcome: events.OutcomeFailed, Reason: "no answer"}
	seen.Gates = &events.Gates{Healthy: events.OutcomeUnknown, Reason: "no answer"}
	return seen
}

func (w *three) publish(p events.HealthObserved) {
	event, err := events.New(events.Origin{Region: p.Observer, Service: events.ServiceProbe}, p.ObservedAt, p)
	if err != nil {
		w.t.Errorf("make an observation: %v", err)
		return
	}
	data, err := event.Encode()
	if err == nil {
		err = w.conn.Publish(event.Subject, data)
	}
	if err != nil {
		w.t.Logf("publish an observation: %v", err)
	}
}

// kill loses a region: its arbiter, its proxies, its database and its observer, as by a power cut. Its etcd member and its bus are the test's own.
func (w *three) kill(name events.Region) {
	w.t.Helper()
	end(w.arbiter[name])
	end(w.regions[name].haproxy)
	w.sides[name].Run(w.t, "pg_ctl", "-D", w.sides[name].DataDir, "-m", "immediate", "stop")
	w.quiet[name].Store(true)
	w.down[name].Store(true)
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
}

func (w *three) judgement(name events.Region) (status failover.Status, ok bool) {
	client := http.Client{Timeout: time.Second}
	response, err := client.Get("http://" + w.address[name] + "/failover")
	if err != nil {
		return status, false
	}
	defer response.Body.Close()
	return status, json.NewDecoder(response.Body).Decode(&status) == nil
}

// current is the state in etcd.
func (w *three) current() state.Failover {
	w.t.Helper()
	response, err := w.store.Get(context.Background(), state.KeyFailover)
	must(w.t, err)
	if len(response.Kvs) == 0 {
		return state.Failover{}
	}
	f, err := state.Decode[state.Failover](response.Kvs[0].Value)
	must(w.t, err)
	return f
}

func (w *three) active() string {
	response, err := w.store.Get(context.Background(), state.KeyActive)
	if err != nil || len(response.Kvs) == 0 {
		return ""
	}
	return string(response.Kvs[0].Value)
}

// ask puts an operator's request.
func (w *three) ask(id string, r state.Request) {
	w.t.Helper()
	r.Act = events.Act{Actor: "ana", Reason: "drill", Request: id, At: time.Now().UTC()}
	data, err := state.Encode(r)
	must(w.t, err)
	_, err = w.store.Put(context.Background(), state.RequestKey(id), string(data))
	must(w.t, err)
}

func (w *three) answer(id string) *state.Answer {
	response, err := w.store.Get(context.Background(), state.RequestKey(id))
	if err != nil || len(response.Kvs) == 0 {
		return nil
	}
	r, err := state.Decode[state.Request](response.Kvs[0].Value)
	must(w.t, err)
	return r.Answer
}

// write commits a row through a region's proxy.
func (w *three) write(name events.Region, n int) error {
	conn, err := w.sides[name].login(context.Background(), w.regions[name].proxy.Bind)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err = conn.Exec(ctx, "INSERT INTO ledger VALUES ("+strconv.Itoa(n)+")")
	return err
}

func (w *three) writes(name events.Region, n int) func() bool {
	return func() bool { return w.write(name, n) == nil }
}

// ledger is what the database of a region has.
func (w *three) ledger(name events.Region) string {
	return w.sides[name].Super(w.t, "ofitec_prod", "SELECT coalesce(string_agg(n::text, ',' ORDER BY n), '') FROM ledger")
}

func (w *three) String() string { return fmt.Sprintf("%+v, told %v", w.current(), w.facts()) }

// cable carries connections until it is pulled: then nothing comes through any more, and nobody is told.
type cable struct {
	address string
	pulled  atomic.Bool
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cable{address: listener.Addr().String()}
	var mu sync.Mutex
	var ends []net.Conn
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, end := range ends {
			_ = end.Close()
		}
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			mu.Lock()
			ends = append(ends, near, far)
			mu.Unlock()
			go c.carry(near, far)
			go c.carry(far, near)
		}
	}()
	return c
}

func (c *cable) carry(from, to net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			if !c.pulled.Load() {
				_ = to.Close()
			}
			return
		}
		if !c.pulled.Load() {
			_, _ = to.Write(buffer[:n])
		}
	}
}
