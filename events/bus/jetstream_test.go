package bus_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/example"
)

func TestProvisioningTwiceChangesNothingTheSecondTime(t *testing.T) {
	_, js := serve(t)
	setup := small
	setup.Durables = events.AllDurables()
	done, err := bus.Provision(t.Context(), js, setup)
	if err != nil || len(done) != len(events.Streams)+len(setup.Durables) {
		t.Fatalf("did %v, %v", done, err)
	}
	again, err := bus.Provision(t.Context(), js, setup)
	if err != nil || len(again) != 0 {
		t.Errorf("the second time did %v, %v", again, err)
	}
	facts, err := js.Stream(t.Context(), events.StreamFacts)
	if err != nil {
		t.Fatal(err)
	}
	c := facts.CachedInfo().Config
	if !c.DenyDelete || !c.DenyPurge || c.Discard != jetstream.DiscardNew || c.MaxAge != 400*24*time.Hour || c.Storage != jetstream.FileStorage {
		t.Errorf("FACTS is %+v", c)
	}
}

func TestOnlyTheNamedStreamsAreMade(t *testing.T) {
	_, js := serve(t)
	done, err := bus.Provision(t.Context(), js, bus.Setup{Streams: []string{events.StreamFacts, events.StreamParked}})
	if err != nil || !slices.Equal(done, []string{"stream FACTS made", "stream PARKED made"}) {
		t.Errorf("did %v, %v", done, err)
	}
}

func TestProvisioningMakesMoreRoomAndAddsSubjects(t *testing.T) {
	_, js := serve(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "HEALTH", Subjects: []string{"ofitec.*.health.>"}, MaxAge: time.Hour, MaxBytes: 1 << 20, Discard: jetstream.DiscardOld,
	}); err != nil {
		t.Fatal(err)
	}
	done, err := bus.Provision(t.Context(), js, small)
	if err != nil || !slices.Contains(done, "stream HEALTH updated") {
		t.Errorf("did %v, %v", done, err)
	}
}

func TestProvisioningRefusesWhatItMustNotChangeAndMakesNothing(t *testing.T) {
	for field, change := range map[string]func(*jetstream.StreamConfig){
		"retention":   func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"storage":     func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage },
		"discard":     func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"deny_delete": func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"deny_purge":  func(c *jetstream.StreamConfig) { c.DenyPurge = false },
		"subjects":    func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more.>") },
		"max_age":     func(c *jetstream.StreamConfig) { c.MaxAge = 0 },
	} {
		_, js := serve(t)
		facts, _ := events.LookupStream(events.StreamFacts)
		config := jetstream.StreamConfig{
			Name: facts.Name, Subjects: slices.Clone(facts.Subjects), MaxAge: facts.MaxAge, Discard: jetstream.DiscardNew, DenyDelete: true, DenyPurge: true,
		}
		change(&config)
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		done, err := bus.Provision(t.Context(), js, small)
		var refused *bus.RefusedError
		if !errors.As(err, &refused) || refused.Field != field || len(done) != 0 {
			t.Errorf("%s: did %v, %v", field, done, err)
		}
		if _, err := js.Stream(t.Context(), events.StreamHealth); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%s: HEALTH was made although FACTS was refused (%v)", field, err)
		}
	}
}

func TestADurableThatIsNotThereIsNotMadeUnasked(t *testing.T) {
	_, js := serve(t)
	if _, err := bus.Provision(t.Context(), js, small); err != nil {
		t.Fatal(err)
	}
	config := bus.Consumer{Service: events.ServiceDeployer, Region: "a", Stream: events.StreamFacts}
	nothing := func(context.Context, bus.Delivery) error { return nil }
	if err := bus.NewJetStream(js, nil).Consume(t.Context(), config, nothing); !errors.Is(err, bus.ErrNoDurable) {
		t.Errorf("got %v", err)
	}
	if _, err := js.CreateConsumer(t.Context(), "FACTS", jetstream.ConsumerConfig{Durable: "deployer-a", AckPolicy: jetstream.AckExplicitPolicy, MaxDeliver: 3}); err != nil {
		t.Fatal(err)
	}
	if err := bus.NewJetStream(js, nil).Consume(t.Context(), config, nothing); !errors.Is(err, bus.ErrUnsafeDurable) {
		t.Errorf("got %v", err)
	}
}

func TestAMessageCarriesContentTypeMessageIDAndTrace(t *testing.T) {
	conn, js := serve(t)
	if _, err := bus.Provision(t.Context(), js, small); err != nil {
		t.Fatal(err)
	}
	live, err := conn.SubscribeSync(events.Filter("", events.TypeHealthObserved))
	if err != nil {
		t.Fatal(err)
	}
	event, _ := example.Event(example.Health(1))
	if _, err := bus.NewJetStream(js, nil).Publish(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	msg, err := live.NextMsg(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Content-Type": "application/cloudevents+json", "Nats-Msg-Id": event.MsgID(), "traceparent": event.TraceParent} {
		if got := msg.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if back, err := events.Decode(msg.Data); err != nil || !reflect.DeepEqual(back, event) {
		t.Errorf("a plain subscription read %+v, %v", back, err)
	}
}

func TestMetricsCountWhatWasPublishedAndHandled(t *testing.T) {
	_, js := serve(t)
	if _, err := bus.Provision(t.Context(), js, small); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	metrics, err := bus.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	b := bus.NewJetStream(js, metrics)
	sample, _ := example.Of(events.TypeExportReady)
	event, _ := example.Event(sample)
	for range 2 {
		if _, err := b.Publish(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = b.Consume(ctx, bus.Consumer{Service: events.ServiceTransform, Region: "a", Stream: events.StreamFacts, Create: true}, func(context.Context, bus.Delivery) error {
		cancel()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, family := range families {
		for _, metric := range family.Metric {
			fmt.Fprintln(&text, family.GetName(), metric.GetLabel(), metric.GetCounter().GetValue())
		}
	}
	for _, want := range []string{`value:"stored"`, `value:"duplicate"`, `value:"acknowledged"`, `value:"export.ready.v1"`} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is not in\n%s", want, text.String())
		}
	}
}

// TestTheDefinedPermissionsAreEnoughAndNoMore runs a service under its own permissions on a server that enforces them.
func TestTheDefinedPermissionsAreEnoughAndNoMore(t *testing.T) {
	url, operator := secured(t, events.ServiceDeployer, events.ServiceRotator, events.ServiceConsole)
	setup := small
	setup.Durables = events.AllDurables()
	if _, err := bus.Provision(t.Context(), operator, setup); err != nil {
		t.Fatal(err)
	}
	rotator, deployer, console := as(t, url, events.ServiceRotator), as(t, url, events.ServiceDeployer), as(t, url, events.ServiceConsole)
	sample, _ := example.Of(events.TypeCredentialRotated)
	event, _ := example.Event(sample)
	if _, err := bus.NewJetStream(rotator, nil).Publish(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var parked sync.Once
	err := bus.NewJetStream(deployer, nil).Consume(ctx, bus.Consumer{Service: events.ServiceDeployer, Region: "a", Stream: events.StreamFacts}, func(context.Context, bus.Delivery) error {
		parked.Do(func() { time.AfterFunc(300*time.Millisecond, cancel) })
		return bus.Park("to see whether it may")
	})
	if err != nil || !errors.Is(ctx.Err(), context.Canceled) {
		t.Fatalf("consumed with %v, %v", err, ctx.Err())
	}
	seen := 0
	for _, stream := range []string{events.StreamFacts, events.StreamParked} {
		if err := bus.NewJetStream(console, nil).Replay(t.Context(), bus.Range{Stream: stream}, func(bus.Replayed) error { seen++; return nil }); err != nil {
			t.Fatalf("replay %s: %v", stream, err)
		}
	}
	if seen != 2 {
		t.Errorf("the console read %d messages, want the event and the parked one", seen)
	}
	short, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	if _, err := bus.NewJetStream(deployer, nil).Publish(short, event); err == nil {
		t.Error("the deployer published a credential.rotated")
	}
	if err := deployer.DeleteStream(short, events.StreamFacts); err == nil {
		t.Error("the deployer deleted FACTS")
	}
	if err := console.DeleteConsumer(short, events.StreamFacts, "deployer-a"); err == nil {
		t.Error("the console deleted the deployer's durable")
	}
}

// secured starts a server on which each service in region a has its own user with its own permissions.
func secured(t *testing.T, services ...string) (string, jetstream.JetStream) {
	t.Helper()
	account := server.NewAccount("OPS")
	users := []*server.User{{Username: "operator", Password: "p", Account: account}}
	for _, service := range services {
		p := events.PermissionsOf(service, "a")
		users = append(users, &server.User{Username: service, Password: "p", Account: account, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: p.PublishAllow, Deny: p.PublishDeny},
			Subscribe: &server.SubjectPermission{Allow: p.SubscribeAllow},
		}})
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true, Accounts: []*server.Account{account}, Users: users,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	ops, err := s.LookupAccount("OPS")
	if err != nil {
		t.Fatal(err)
	}
	if err := ops.EnableJetStream(nil, nil); err != nil {
		t.Fatal(err)
	}
	return s.ClientURL(), as(t, s.ClientURL(), "operator")
}

func as(t *testing.T, url, user string) jetstream.JetStream {
	t.Helper()
	options := []nats.Option{nats.UserInfo(user, "p")}
	if user != "operator" {
		options = append(options, nats.CustomInboxPrefix(events.InboxPrefix(user, "a")))
	}
	conn, err := nats.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
