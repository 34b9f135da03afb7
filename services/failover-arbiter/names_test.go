package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns/dnstest"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dnsapi"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// addressAPI is what stood behind the earlier delivery's DNS_API: it takes an address, and its name servers answer with it.
type addressAPI struct {
	dns *dnstest.Server
	url string

	mu     sync.Mutex
	posted []string
}

func startAddressAPI(t *testing.T) *addressAPI {
	t.Helper()
	a := &addressAPI{dns: dnstest.Serve(t)}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ IP string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.posted = append(a.posted, body.IP)
		a.dns.Hold(dnstest.Name, "A", 60, body.IP)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func TestAProviderIsNotAskedMoreOftenThanItBears(t *testing.T) {
	config := DNS{Name: dnstest.Name, TTL: time.Minute, AddressA: "192.0.2.11", AddressB: "192.0.2.12"}
	server := &nameServer{refuses: errors.New("away")}
	n := &names{provider: server, record: config.record, within: time.Second, every: time.Hour, log: slog.New(slog.DiscardHandler)}
	follow := func(region events.Region, epoch events.Epoch, sets int, problem string) {
		t.Helper()
		if named := n.follow(context.Background(), region, epoch); !strings.Contains(named.Problem, problem) || server.sets != sets {
			t.Errorf("after %d sets, want %d: %+v", server.sets, sets, named)
		}
	}
	follow(events.RegionA, 1, 1, "away")
	follow(events.RegionA, 1, 1, "away") // again, too early
	follow(events.RegionB, 2, 2, "away") // the state wants another: at once
	n.untried = time.Time{}
	server.refuses = &dns.BusyError{Provider: "it", For: time.Hour}
	follow(events.RegionB, 2, 3, "left alone for 1h")
	n.untried = time.Time{}
	follow(events.RegionA, 3, 3, "left alone for 1h") // not even then
	n.busy, server.refuses = time.Time{}, nil
	follow(events.RegionA, 3, 4, "")
}

// leading is a judgement that leads and has read that a region is active.
func leading(active events.Region, epoch events.Epoch) *judgement {
	j := &judgement{log: slog.New(slog.DiscardHandler), state: failover.New(NewConfig().judging(timing.Local()))}
	j.tell(failover.Led{Term: 1})
	j.tell(failover.Read{Failover: &state.Failover{Epoch: epoch, Active: active, Phase: state.PhaseSteady, Since: clock.Now().Wall}, FailoverRevision: 1, Known: epoch})
	return j
}

func TestAStaleLeadersAddressIsUndoneWithinATickWhereTheProviderCannotRefuseIt(t *testing.T) {
	api := startAddressAPI(t)
	provider := dnsapi.New(dnsapi.Options{URL: api.url, Authority: dns.NewAuthority(api.dns.Address)})
	config := DNS{Name: dnstest.Name, TTL: time.Minute, AddressA: "192.0.2.11", AddressB: "192.0.2.12"}
	j := leading(events.RegionB, 2)
	n := &names{provider: provider, kind: "post", record: config.record, within: 5 * time.Second, every: 0, rests: timing.Local().Tick, judgement: j, log: j.log}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	working.Go(func() { _ = n.run(ctx) })
	leads := func() bool {
		found, err := provider.Lookup(ctx, dnstest.Name)
		return err == nil && found.Address == "192.0.2.12"
	}
	await(t, 10*time.Second, "the name leads to b", func() bool { return leads() && j.status().Name.Address == "192.0.2.12" })
	stale := dnsapi.New(dnsapi.Options{URL: api.url, Authority: dns.NewAuthority(api.dns.Address)})
	must(t, stale.Set(ctx, config.record(events.RegionA, 1)))
	took := await(t, 10*time.Second, "the name leads to b again", leads)
	t.Logf("undone after %s; a tick is %s", took.Round(time.Millisecond), timing.Local().Tick)
	if name := j.status().Name; name.Problem != "" || name.Provider != "post" || name.TTL != 60 {
		t.Errorf("the name is %+v", name)
	}
}

func TestTheEarlierVariableMovesTheNameAndTheEventNamesTheProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a real etcd")
	}
	api, endpoint := startAddressAPI(t), etcdtest.Start(t)
	api.dns.Hold(dnstest.Name, "A", 60, "192.0.2.11")
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 10 * time.Second})
	must(t, err)
	defer client.Close()
	now := time.Now().UTC()
	promoted := state.Failover{
		Epoch: 2, Active: events.RegionB, Phase: state.PhasePromoted, Since: now,
		Intent: &state.Intent{Epoch: 2, From: events.RegionA, To: events.RegionB, Cause: events.CauseDown, DecidedAt: now, Deadline: now.Add(time.Minute), MandateRevision: 1, Decision: "c.failover-arbiter.1",
			Steps: []state.Step{{Phase: state.PhaseIntent, At: now, Term: 1}, {Phase: state.PhaseFenced, At: now, Term: 1}, {Phase: state.PhasePromoted, At: now, Term: 1}}},
	}
	content, err := json.Marshal(promoted)
	must(t, err)
	put := func(key, value string) {
		t.Helper()
		_, err := client.Put(t.Context(), key, value)
		must(t, err)
	}
	put(state.KeyActive, "B")
	put(state.KeyFailover, string(content))
	p := chassistest.Start(t, "OFITEC_REGION=c", "NATS_URL="+noNATS, "ETCD_ENDPOINTS="+endpoint, "OFITEC_DATA_DIR="+t.TempDir(),
		"OFITEC_DNS_PROVIDER=post", "DNS_API="+api.url, "OFITEC_DNS_SERVER="+api.dns.Address, "OFITEC_DNS_NAME="+dnstest.Name,
		"IP_A=192.0.2.11", "IP_B=192.0.2.12")
	var told string
	await(t, 60*time.Second, "the event says by whom the name was switched", func() bool {
		all, err := client.Get(t.Context(), "/ofitec/", clientv3.WithPrefix())
		must(t, err)
		for _, kv := range all.Kvs {
			if strings.Contains(string(kv.Value), string(events.TypeFailoverSwitched)) {
				told = string(kv.Value)
			}
		}
		return told != ""
	})
	for _, want := range []string{`"provider":"post"`, `"address":"192.0.2.12"`, `"ttl_seconds":60`} {
		if !strings.Contains(told, want) {
			t.Errorf("no %s in %s", want, told)
		}
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	if len(api.posted) == 0 || api.posted[0] != "192.0.2.12" {
		t.Errorf("posted %q", api.posted)
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
