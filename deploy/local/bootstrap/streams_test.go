package bootstrap_test

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
	"github.com/ofitec/ofitec/events"
)

// nats starts the three servers and makes the streams.
func (s *stage) nats(t *testing.T) []string {
	t.Helper()
	program := find(t, servers.NATS)
	a := s.layout.Addressing
	var urls []string
	for _, r := range layout.Regions {
		dir := s.layout.ComponentDir(r, "nats")
		n := deploy.NATS{
			ServerName: "ofitec-" + string(r), Client: a.Addr(r, layout.PortNATS), Route: a.Addr(r, layout.PortNATSRoute), Monitor: a.Addr(r, layout.PortNATSMonitor),
			TLS: s.serverTLS(r, "nats"), RoutePassword: s.set.RoutePassword, OperatorJWT: s.set.OperatorJWT, SystemAccount: s.set.SystemAccount, Accounts: s.set.Accounts, StoreDir: dir + "/jetstream",
		}
		for _, other := range layout.Regions {
			if other != r {
				n.Routes = append(n.Routes, a.Addr(other, layout.PortNATSRoute))
			}
		}
		start(t, exec.Command(program, "-c", s.write(t, dir+"/nats-server.conf", n.Render)))
		urls = append(urls, "tls://"+n.Client)
	}
	for range 2 {
		eventually(t, "streams", func(ctx context.Context) error {
			return bootstrap.Streams(ctx, urls, s.layout.OperatorIdentityDir()+"/nats.creds", s.tls)
		})
	}
	return urls
}

// member is a connected identity that remembers what it was refused.
type member struct {
	*nats.Conn
	js      jetstream.JetStream
	refused chan string
}

func (s *stage) join(t *testing.T, urls []string, dir, inbox string) *member {
	t.Helper()
	m := &member{refused: make(chan string, 100)}
	var err error
	m.Conn, err = nats.Connect(strings.Join(urls, ","), nats.UserCredentials(dir+"/nats.creds"), nats.Secure(s.clientTLS(t, dir)), nats.CustomInboxPrefix(inbox),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				m.refused <- err.Error()
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	if m.js, err = jetstream.New(m.Conn, jetstream.WithDefaultTimeout(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	return m
}

// mustNot does something and wants the server to name the subject as refused.
func (m *member) mustNot(t *testing.T, who, verb, subject string, act func() error) {
	t.Helper()
	if err := act(); err != nil {
		t.Fatalf("%s, %s %s: %v", who, verb, subject, err)
	}
	_ = m.Flush()
	timeout := time.After(5 * time.Second)
	for {
		select {
		case refusal := <-m.refused:
			if strings.Contains(refusal, `"`+subject+`"`) {
				return
			}
		case <-timeout:
			t.Errorf("%s may %s %s", who, verb, subject)
			return
		}
	}
}

// speakForAll lists who may publish in other regions' names: whoever leads next announces what a lost region had left in the shared outbox,
// and the console stands outside.
var speakForAll = []string{events.ServiceArbiter, events.ServiceRotator, events.ServiceDeployer, events.ServiceConsole}

// foreign lists what nobody but the operator may publish, and what only others may.
func foreign(service string, region layout.Region) []string {
	subjects := []string{
		"$JS.API.STREAM.DELETE.FACTS", "$JS.API.STREAM.UPDATE.FACTS", "$JS.API.STREAM.PURGE.FACTS", "$JS.API.STREAM.MSG.DELETE.FACTS", "$JS.API.STREAM.CREATE.MINE",
		"$JS.API.STREAM.DELETE.HEALTH", "$JS.API.CONSUMER.DURABLE.CREATE.FACTS.mine", "$JS.API.STREAM.RESTORE.FACTS", "$JS.API.STREAM.SNAPSHOT.FACTS",
		"$JS.API.STREAM.LEADER.STEPDOWN.FACTS", "$JS.API.STREAM.PEER.REMOVE.FACTS", "$JS.API.META.LEADER.STEPDOWN", "$SYS.REQ.SERVER.PING",
		"_INBOX.operator.1", "_INBOX.failover-arbiter.q.1", "ofitec.a.unknown.fact.v1.x", "other",
	}
	for _, definition := range events.Definitions {
		for _, in := range layout.Regions {
			publishes := false
			for _, publisher := range definition.Publishers {
				publishes = publishes || publisher == service
			}
			if !publishes || in != region && !slices.Contains(speakForAll, service) {
				subjects = append(subjects, strings.TrimSuffix(events.Filter(events.Region(in), definition.Type), ">")+"x")
			}
		}
	}
	for _, durable := range events.AllDurables() {
		if durable.Service == service && (durable.Region == "" || durable.Region == events.Region(region)) {
			continue
		}
		name := durable.Stream + "." + durable.Name
		subjects = append(subjects, "$JS.API.CONSUMER.MSG.NEXT."+name, "$JS.API.CONSUMER.DELETE."+name, "$JS.API.CONSUMER.CREATE."+name, "$JS.ACK."+name+".1.1.1.1.1", "ofitec.a.parked."+durable.Service+"x.y")
	}
	return subjects
}

func TestOnTheBusEachIdentityMayDoWhatIsItsOwnAndNothingElse(t *testing.T) {
	s := newStage(t)
	urls := s.nats(t)
	type one struct {
		service string
		region  layout.Region
		dir     string
	}
	all := []one{{"console", "outside", s.layout.OutsideIdentityDir("console")}}
	for _, service := range layout.Services {
		all = append(all, one{service.Name, service.Regions[0], s.layout.IdentityDir(service.Regions[0], service.Name)})
	}
	for _, c := range all {
		who := c.service + "." + string(c.region)
		m := s.join(t, urls, c.dir, "_INBOX."+who)
		for _, subject := range foreign(c.service, c.region) {
			m.mustNot(t, who, "publish to", subject, func() error { return m.Publish(subject, nil) })
		}
		for _, subject := range []string{">", "_INBOX.>", "_INBOX.operator.>", "_INBOX." + c.service + ".x.>", "ofitec.>", "ofitec.*.failover.>", "$JS.>", "$SYS.>"} {
			m.mustNot(t, who, "subscribe to", subject, func() error { _, err := m.SubscribeSync(subject); return err })
		}
		s.mayWork(t, m, c.service, c.region)
	}
}

// mayWork publishes one of each type of the service into its stream and reads through each of its durables.
func (s *stage) mayWork(t *testing.T, m *member, service string, region layout.Region) {
	t.Helper()
	for _, definition := range events.PublishedBy(service) {
		subject := strings.TrimSuffix(events.Filter(events.Region(region), definition.Type), ">") + "x"
		if ack, err := m.js.Publish(t.Context(), subject, []byte("{}")); err != nil || ack.Stream != definition.Stream {
			t.Errorf("%s publishes to %s: %v", service, subject, err)
		}
	}
	for _, durable := range events.Durables(events.Region(region)) {
		if durable.Service != service {
			continue
		}
		consumer, err := m.js.Consumer(t.Context(), durable.Stream, durable.Name)
		if err != nil {
			t.Errorf("%s binds to %s: %v", service, durable.Name, err)
			continue
		}
		batch, err := consumer.Fetch(10, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			t.Errorf("%s reads %s: %v", service, durable.Name, err)
			continue
		}
		for msg := range batch.Messages() {
			if err := msg.DoubleAck(t.Context()); err != nil {
				t.Errorf("%s acknowledges %s: %v", service, msg.Subject(), err)
			}
		}
		if batch.Error() != nil {
			t.Errorf("%s reads %s: %v", service, durable.Name, batch.Error())
		}
	}
}

func TestTheBusRefusesStrangersAndKeepsThreeCopies(t *testing.T) {
	s := newStage(t)
	urls := s.nats(t)
	if conn, err := nats.Connect(urls[0], nats.Secure(s.tls)); err == nil {
		conn.Close()
		t.Error("somebody without credentials got in")
	}
	stranger := newStage(t)
	if conn, err := nats.Connect(urls[0], nats.Secure(s.tls), nats.UserCredentials(stranger.layout.OperatorIdentityDir()+"/nats.creds")); err == nil {
		conn.Close()
		t.Error("another stack's operator got in")
	}
	operator := s.join(t, urls, s.layout.OperatorIdentityDir(), "_INBOX.operator")
	for _, stream := range events.Streams {
		found, err := operator.js.Stream(t.Context(), stream.Name)
		if err != nil {
			t.Fatal(err)
		}
		if config := found.CachedInfo().Config; config.Replicas != 3 || config.Storage != jetstream.FileStorage {
			t.Errorf("%s has %d replicas in %v", stream.Name, config.Replicas, config.Storage)
		}
		if stream.Name == events.StreamHealth && found.CachedInfo().Config.MaxBytes != 1<<30 {
			t.Errorf("HEALTH takes %d bytes", found.CachedInfo().Config.MaxBytes)
		}
	}
	sys, err := nats.Connect(urls[0], nats.Secure(s.tls), nats.UserCredentials(s.layout.OperatorIdentityDir()+"/sys.creds"))
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	if _, err := sys.Request("$SYS.REQ.SERVER.PING", nil, 5*time.Second); err != nil {
		t.Errorf("the operator looks at the servers: %v", err)
	}
}
