package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"

	book "github.com/ofitec/ofitec/services/deployer/internal/etcd"
)

// TestAVersionOutlivesMoreLeadersThanTheBackOffTableHasAttempts lets leader after leader take a version that must wait, and lose its leadership before it is stored.
func TestAVersionOutlivesMoreLeadersThanTheBackOffTableHasAttempts(t *testing.T) {
	t.Parallel() // it has servers of its own
	settings := chassis.NewSettings()
	settings.Etcd.Endpoints = []string{etcdtest.Start(t)}
	client, err := etcd.Connect(settings)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	conn, err := nats.Connect(chassistest.NATS(t))
	must(t, err)
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(t, err)
	_, err = bus.Provision(t.Context(), js, bus.Setup{Replicas: 1, MaxBytes: map[string]int64{events.StreamHealth: 16 << 20}, Durables: events.AllDurables()})
	must(t, err)
	pipe := bus.NewJetStream(js, nil)
	d := &deployer{policy: rollout.Policy{Region: events.RegionA}, credentials: []Credential{Credential{Name: credentialName}.whole()}, log: slog.New(slog.DiscardHandler)}
	config := d.consumer(nil)
	if len(config.Backoff) != 1 || config.Backoff[0] > 2*time.Second {
		t.Errorf("a version that was handed back comes to the next leader after %v", config.Backoff)
	}
	config.Backoff = []time.Duration{10 * time.Millisecond}
	now := time.Now().UTC()
	event, err := events.New(events.Origin{Region: events.RegionA, Service: events.ServiceRotator}, now, events.CredentialRotated{
		Credential: events.Credential{Name: credentialName, Kind: events.CredentialDatabase, Version: 2, Path: "ofitec/credentials/" + credentialName, Fingerprint: strings.Repeat("ab", 32)},
		Region:     events.RegionA, Lease: events.Lease{TTLSeconds: 3600, ExpiresAt: now.Add(time.Hour), DeadlineAt: now.Add(24 * time.Hour)}, Previous: 1, Trigger: "schedule",
	})
	must(t, err)
	_, err = pipe.Publish(t.Context(), event)
	must(t, err)

	leaders := len(bus.Backoff) + 4
	for n := range leaders {
		leadership, err := client.Campaign(t.Context(), etcd.Election{Key: book.LeaderKey(events.RegionA), Candidate: "test", TTL: 10 * time.Second})
		must(t, err)
		term := &term{deployer: d, leadership: leadership, wishes: make(chan wish), tracks: []*track{{Credential: d.credentials[0]}}}
		over := make(chan struct{})
		go func() {
			defer close(over)
			consume(leadership.Context(), pipe, config, term.hear)
		}()
		select {
		case w := <-term.wishes:
			if w.Credential.Version != 2 {
				t.Errorf("leader %d is asked for %+v", n+1, w.Wish)
			}
			if n == leaders-1 {
				close(w.taken)
				await(t, 20*time.Second, "the version is acknowledged", func() bool {
					durable, err := js.Consumer(t.Context(), events.StreamFacts, "deployer-a")
					must(t, err)
					return durable.CachedInfo().NumAckPending == 0
				})
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("leader %d is not asked for the version any more", n+1)
		}
		leadership.Resign()
		<-over
	}
	parked, err := js.Stream(t.Context(), events.StreamParked)
	must(t, err)
	if n := parked.CachedInfo().State.Msgs; n > 0 {
		t.Errorf("%d versions are parked", n)
	}
}
