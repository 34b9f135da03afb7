package observe

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

func observation(observer events.Region, number int64) events.HealthObserved {
	return events.HealthObserved{
		Observer: observer, Incarnation: "i1", Number: number, Target: events.RegionA, ObservedAt: time.Now().UTC(), Verdict: events.OutcomeOK, SuccessesInRow: 1,
		Checks: events.Checks{Postgres: &events.CheckResult{Outcome: events.OutcomeOK}},
	}
}

func encoded(t *testing.T, origin events.Origin, p events.Payload) (subject string, data []byte) {
	t.Helper()
	event, err := events.New(origin, time.Now(), p)
	if err != nil {
		t.Fatal(err)
	}
	if data, err = event.Encode(); err != nil {
		t.Fatal(err)
	}
	return event.Subject, data
}

func TestOnlyAnObserverIsHeardInItsOwnName(t *testing.T) {
	conn, err := nats.Connect(chassistest.NATS(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	heard, ignored := make(chan failover.Observation, 10), make(chan string, 10)
	err = Listen(conn, Ear{
		Hear:   func(o failover.Observation) { heard <- o },
		Ignore: func(observer events.Region, err error) { ignored <- string(observer) + ": " + err.Error() },
	})
	if err != nil {
		t.Fatal(err)
	}
	probe := events.Origin{Region: events.RegionB, Service: events.ServiceProbe}
	subject, data := encoded(t, probe, observation(events.RegionB, 1))
	_, ofAnother := encoded(t, events.Origin{Region: events.RegionC, Service: events.ServiceProbe}, observation(events.RegionC, 1))
	_, inAnothersName := encoded(t, probe, observation(events.RegionC, 1))
	_, ofAnotherService := encoded(t, events.Origin{Region: events.RegionB, Service: events.ServiceRotator}, observation(events.RegionB, 2))
	for _, message := range [][]byte{
		[]byte("no event"), ofAnother, inAnothersName, ofAnotherService, []byte(strings.Replace(string(data), `"ok"`, `"fine"`, 1)), data,
	} {
		if err := conn.Publish(subject, message); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case o := <-heard:
		if h, ok := o.(failover.Heard); !ok || h.Report.Observer != events.RegionB || h.Report.Number != 1 {
			t.Errorf("heard %+v", o)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was heard")
	}
	for n := range 5 {
		if reason := <-ignored; !strings.HasPrefix(reason, "b: ") {
			t.Errorf("message %d: %s", n, reason)
		}
	}
	if len(heard) > 0 {
		t.Errorf("heard %+v too", <-heard)
	}
}
