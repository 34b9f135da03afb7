package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/deploy/postgrestest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

// credential is the one whose rotation is tested here, and path its place.
const (
	credential = "odoo-app"
	path       = "ofitec/credentials/" + credential
)

// rig is everything that a rotator stands on, all of it real, and a deployer that is not: it logs in with what it is given and gives the verdict that the
// test has chosen.
type rig struct {
	database *postgrestest.Database
	proxy    string
	vault    *vaultServer
	etcd     *clientv3.Client
	js       jetstream.JetStream
	bus      *bus.JetStream
	env      []string

	mu        sync.Mutex
	verdict   func(version int64, r events.Region) string // deployed, silent, or the reason of a roll-back
	sessions  map[int64]*pgx.Conn                         // what "Odoo" holds, by version
	passwords []string                                    // that must be found nowhere
}

func startRig(t *testing.T, ttl, most string) *rig {
	t.Helper()
	return startRigOn(t, startVault, ttl, most)
}

// startRigOn starts one with a Vault of the test's own.
func startRigOn(t *testing.T, startVault func(t *testing.T, ttl, most string, d *postgrestest.Database, proxy string) *vaultServer, ttl, most string) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("real servers are started")
	}
	vaultProgram(t)
	r := &rig{database: postgrestest.Start(t, true), sessions: map[int64]*pgx.Conn{}, passwords: []string{postgrestest.Password}}
	r.verdict = func(int64, events.Region) string { return "deployed" }
	r.proxy = r.database.Relay(t)
	r.vault = startVault(t, ttl, most, r.database, r.proxy)
	endpoint, address := etcdtest.Start(t), chassistest.NATS(t)
	var err error
	r.etcd, err = clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	must(t, err)
	t.Cleanup(func() { _ = r.etcd.Close() })
	r.activate(t, events.RegionA)
	r.epoch(t, 1)
	conn, err := nats.Connect(address)
	must(t, err)
	t.Cleanup(conn.Close)
	r.js, err = jetstream.New(conn)
	must(t, err)
	setup := bus.Setup{Replicas: 1, MaxBytes: map[string]int64{events.StreamHealth: 16 << 20}, Durables: events.AllDurables()}
	_, err = bus.Provision(t.Context(), r.js, setup)
	must(t, err)
	r.bus = bus.NewJetStream(r.js, nil)
	r.env = []string{
		"NATS_URL=" + address, "ETCD_ENDPOINTS=" + endpoint, "VAULT_ADDR=" + r.vault.addr, "OFITEC_VAULT_ROLE_ID_FILE=" + r.vault.dir + "/role",
		"OFITEC_VAULT_SECRET_ID_FILE=" + r.vault.dir + "/secret", "OFITEC_TLS_CA_FILE=" + r.database.TLS.CA,
		"OFITEC_DATABASE_PROXIES=" + chassistest.FreeAddr(t) + "," + r.proxy, "OFITEC_DATABASE_READ_PROXIES=" + chassistest.FreeAddr(t),
		"OFITEC_DRAIN_GRACE=1s", "OFITEC_REGION_PATIENCE=1m", "OFITEC_ROLLOUT_TIME=2s", "OFITEC_RETRY_AFTER=1s", "OFITEC_STRAY_AFTER=1s", "OFITEC_LEADER_TTL=2s",
	}
	r.deploy(t)
	return r
}

// activate says who may write; nobody, while the region is empty.
func (r *rig) activate(t *testing.T, region events.Region) {
	t.Helper()
	active, err := state.EncodeActive(region)
	must(t, err)
	_, err = r.etcd.Put(t.Context(), state.KeyActive, string(active))
	must(t, err)
}

// epoch is the arbiters' word that a mandate was granted.
func (r *rig) epoch(t *testing.T, number events.Epoch) {
	t.Helper()
	now, err := state.Encode(state.Failover{Epoch: number, Active: events.RegionA, Phase: state.PhaseSteady, Since: time.Now().UTC()})
	must(t, err)
	_, err = r.etcd.Put(t.Context(), state.KeyFailover, string(now))
	must(t, err)
}

// rotator starts one in a region; more variables outrank the others.
func (r *rig) rotator(t *testing.T, region events.Region, more ...string) *chassistest.Process {
	t.Helper()
	return chassistest.Start(t, append(append(slices.Clone(r.env), "OFITEC_REGION="+string(region)), more...)...)
}

// deploy is the deployer of both regions: each is asked by an event of its own.
func (r *rig) deploy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	consumer := bus.Consumer{Service: events.ServiceDeployer, Region: events.RegionA, Stream: events.StreamFacts, Backoff: []time.Duration{100 * time.Millisecond, 100 * time.Millisecond}}
	go func() {
		defer close(ended)
		_ = r.bus.Consume(ctx, consumer, func(ctx context.Context, d bus.Delivery) error { // ends with ctx only
			rotated, ok := d.Payload.(events.CredentialRotated)
			if !ok || rotated.Region == "" {
				return nil
			}
			if rotated.Name != credential { // one that the test's deployer takes as it is
				_, err := r.bus.Publish(ctx, result(t, d.Event, rotated, rotated.Region, "deployed"))
				return err
			}
			return r.roll(ctx, t, d.Event, rotated)
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

func (r *rig) roll(ctx context.Context, t *testing.T, cause events.Event, rotated events.CredentialRotated) error {
	var err error
	user, secret, ok := r.vault.secret(t, rotated.Version)
	if !ok {
		return fmt.Errorf("version %d cannot be read", rotated.Version)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[rotated.Version] == nil {
		if r.sessions[rotated.Version], err = r.login(ctx, user, secret); err != nil {
			return err
		}
	}
	r.passwords = append(r.passwords, secret)
	word := r.verdict(rotated.Version, rotated.Region)
	if word == "silent" {
		return nil
	}
	_, err = r.bus.Publish(ctx, result(t, cause, rotated, rotated.Region, word))
	return err
}

func result(t *testing.T, cause events.Event, rotated events.CredentialRotated, region events.Region, word string) events.Event {
	now := time.Now()
	rollout := events.Rollout{Credential: rotated.Credential, Region: region, Colour: "green", Standby: region == events.RegionB, Started: now, Ended: now, Readings: events.Readings{Green: 1}}
	var payload events.Payload = events.CredentialDeployed{Rollout: rollout, Previous: rotated.Previous}
	if word != "deployed" {
		payload = events.CredentialRolledBack{Rollout: rollout, Kept: rotated.Previous, Step: "gate", Reason: word}
	}
	event, err := events.New(events.Origin{Region: region, Service: events.ServiceDeployer}, now, payload, events.CausedBy(cause))
	if err != nil {
		t.Error(err)
	}
	return event
}

func (r *rig) login(ctx context.Context, user, secret string) (*pgx.Conn, error) {
	settings, err := pgx.ParseConfig("postgres://" + r.proxy + "/ofitec_prod?sslmode=verify-full&sslrootcert=" + r.database.TLS.CA)
	if err != nil {
		return nil, err
	}
	settings.User, settings.Password = user, secret
	return pgx.ConnectConfig(ctx, settings)
}

// job asks for a rotation as the command line does.
func (r *rig) job(t *testing.T, request string) events.Event {
	t.Helper()
	job := events.JobRotate{Name: credential, Act: events.Act{Actor: "maria", Reason: "a test", Request: request, At: time.Now().UTC()}}
	event, err := events.New(events.Origin{Region: events.RegionA, Service: events.ServiceConsole}, time.Now(), job)
	must(t, err)
	_, err = r.bus.Publish(t.Context(), event)
	must(t, err)
	return event
}

// state is what stands in etcd.
func (r *rig) state(t *testing.T) (s state.Credential, raw string) {
	t.Helper()
	answer, err := r.etcd.Get(t.Context(), state.CredentialKey(credential))
	must(t, err)
	if len(answer.Kvs) == 0 {
		return s, ""
	}
	s, err = state.Decode[state.Credential](answer.Kvs[0].Value)
	must(t, err)
	return s, string(answer.Kvs[0].Value)
}

func current(s state.Credential) (v state.CredentialVersion) {
	for _, v := range s.Versions {
		if v.Stage == state.StageCurrent {
			return v
		}
	}
	return v
}

// settled waits until a version made after the given number is in use and every other one has ended, and checks that Vault, the database, KV v2 and the book
// agree on it.
func (r *rig) settled(t *testing.T, after int64) state.CredentialVersion {
	t.Helper()
	var now state.CredentialVersion
	last := "nothing"
	await(t, 90*time.Second, "one version is in use and the others have ended", func() bool {
		s, _ := r.state(t)
		now, last = current(s), ""
		for _, v := range s.Versions {
			last += fmt.Sprintf(" %d=%s", v.Number, v.Stage)
			if v.Stage != state.StageCurrent && v.Stage != state.StageRevoked {
				return false
			}
		}
		return now.Number > after && now.Lease != "" && len(r.vault.leases(t)) == 1
	}, func() string { return last + fmt.Sprint(" leases ", r.vault.leases(t)) })
	if leases := r.vault.leases(t); leases[0] != now.Lease {
		t.Errorf("the lease in Vault is %s, in the book %s", leases[0], now.Lease)
	}
	if users := r.users(t); users != now.User {
		t.Errorf("users in the database: %q, want %s", users, now.User)
	}
	user, secret, ok := r.vault.secret(t, now.Number)
	if !ok || user != now.User {
		t.Errorf("KV v2 has %q as version %d, want %s", user, now.Number, now.User)
	}
	if stored := r.vault.stored(t); stored != now.Number {
		t.Errorf("KV v2's current version is %d, want %d", stored, now.Number)
	}
	await(t, 20*time.Second, "what is in use logs in", func() bool { // the server gives a login one second, which a starved machine may miss
		conn, err := r.login(t.Context(), user, secret)
		if err == nil {
			_ = conn.Close(context.Background())
		}
		return err == nil
	})
	return now
}

// users are those that Vault has made for the application.
func (r *rig) users(t *testing.T) string {
	t.Helper()
	return r.database.Super(t, "ofitec_prod", "SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'v-approle-odoo-app-%'")
}

// facts lists the credential's events in order, as type and id.
func (r *rig) facts(t *testing.T, types ...events.Type) []events.Event {
	t.Helper()
	var all []events.Event
	err := r.bus.Replay(t.Context(), bus.Range{Stream: events.StreamFacts, Types: types}, func(m bus.Replayed) error {
		must(t, m.Err)
		all = append(all, m.Event)
		return nil
	})
	must(t, err)
	return all
}

// start runs a program until the test ends, and shows the end of its output if the test failed.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var mu sync.Mutex
	var out bytes.Buffer
	cmd.Stdout = writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return out.Write(p)
	})
	cmd.Stderr = cmd.Stdout
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			lines := strings.Split(out.String(), "\n")
			t.Logf("%s said:\n%s", cmd.Path, strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// await polls until the condition holds.
func await(t *testing.T, limit time.Duration, what string, holds func() bool, why ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, explain := range why {
				what += ": " + explain()
			}
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "of")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// ended says whether a session is over.
func ended(conn *pgx.Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, "SELECT 1")
	return err != nil && !errors.Is(err, context.DeadlineExceeded)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
