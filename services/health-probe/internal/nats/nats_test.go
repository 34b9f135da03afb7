package nats

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
)

// counts is what became of events.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counts) tally(_ events.Type, result string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]int{}
	}
	c.of[result]++
}

func (c *counts) now() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.of)
}

func event(t *testing.T, number int64) events.Event {
	t.Helper()
	at := time.Now()
	e, err := events.New(events.Origin{Region: "a", Service: "health-probe"}, at, events.HealthObserved{
		Observer: "a", Incarnation: "i", Number: number, Target: "b", ObservedAt: at, Verdict: events.OutcomeOK, SuccessesInRow: 1,
		Checks: events.Checks{Postgres: &events.CheckResult{Outcome: events.OutcomeOK}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestAFullQueueDropsTheOldestAndHoldsUpNobody(t *testing.T) {
	url := chassistest.NATS(t)
	conn := connect(t, url)
	heard, err := conn.SubscribeSync("ofitec.a.health.>")
	if err != nil || conn.Flush() != nil {
		t.Fatal(err)
	}
	var c counts
	p := New(conn, time.Hour, c.tally)
	for n := range int64(queueLength + 3) {
		p.Offer(event(t, n+1)) // nobody takes them yet
	}
	if c.now()[Full] != 3 {
		t.Errorf("counted %v, want 3 dropped", c.now())
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	msg, err := heard.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	first, err := events.Decode(msg.Data)
	if err != nil || first.ID != event(t, 4).ID {
		t.Errorf("the first that arrives is %s, %v; want the fourth", first.ID, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWhatWaitedTooLongOrFindsNoBusIsDropped(t *testing.T) {
	var c counts
	late := New(connect(t, chassistest.NATS(t)), time.Millisecond, c.tally)
	if got := late.send(queued{event(t, 1), time.Now().Add(-time.Second)}); got != Late {
		t.Errorf("an old event is %s", got)
	}
	away := New(connect(t, "nats://"+chassistest.FreeAddr(t)), time.Hour, c.tally)
	if got := away.send(queued{event(t, 1), time.Now()}); got != Away {
		t.Errorf("without a bus it is %s", got)
	}
}
