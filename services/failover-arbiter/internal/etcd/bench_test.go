package etcd

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// court is an arbiter that leads, beside a region that holds the first mandate.
type court struct {
	*Bench
	client     *etcd.Client
	owner      *Store
	leadership *etcd.Leadership
	outbox     *etcd.Outbox
}

func newCourt(t *testing.T) court {
	t.Helper()
	address := etcdtest.Start(t)
	client, err := etcd.Connect(chassis.Settings{Etcd: chassis.EtcdSettings{Endpoints: []string{address, address, address}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	c := court{client: client, outbox: etcd.NewOutbox(client, events.ServiceArbiter)}
	c.owner = NewStore(etcd.NewNearest(client.Endpoints(), 0), events.RegionA, "f1.p1", state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001}, clock.Now)
	c.Bench = NewBench(etcd.NewNearest(client.Endpoints(), 0), c.outbox, events.Origin{Region: events.RegionC, Service: events.ServiceArbiter}, slog.New(slog.DiscardHandler))
	take(t, c.owner)
	c.leadership, err = client.Campaign(deadline(t), etcd.Election{Key: state.KeyLeader, Candidate: "c", TTL: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c court) read(t *testing.T) failover.Read {
	t.Helper()
	read, err := c.Look(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// intent is the first step of a failover by what was read.
func (c court) intent(read failover.Read) failover.Swap {
	now := time.Now().UTC()
	zero, none := 0.0, int64(0)
	loss := events.LossBound{Seconds: &zero, Bytes: &none}
	act := events.Act{Actor: "ana", Reason: "drill", Request: "r1", At: now}
	name := events.Failover{Epoch: 2, From: events.RegionA, To: events.RegionB, Cause: events.CauseSwitchover}
	next := *read.Failover
	next.Phase, next.Since = state.PhaseIntent, now
	next.Intent = &state.Intent{
		Epoch: 2, From: events.RegionA, To: events.RegionB, Cause: events.CauseSwitchover, DecidedAt: now, Deadline: now.Add(time.Minute), MandateRevision: read.MandateRevision,
		Loss: loss, Act: &act, Decision: "d", Steps: []state.Step{{Phase: state.PhaseIntent, At: now, Term: c.leadership.Term}},
	}
	started := events.FailoverStarted{Failover: name, DecidedAt: now, Rule: failover.FiredAsked, Leader: events.RegionC, Term: c.leadership.Term, Loss: loss, Act: &act}
	return failover.Swap{
		Term: c.leadership.Term, Next: next, Over: read.FailoverRevision, Mandate: read.MandateRevision, Announce: []failover.Announcement{{Payload: started}},
	}
}

func (c court) waiting(t *testing.T) int64 {
	t.Helper()
	n, err := c.outbox.Waiting(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAnIntentEndsTheMandateInOneTransactionOrNotAtAll(t *testing.T) {
	c := newCourt(t)
	read := c.read(t)
	if read.Failover.Epoch != 1 || read.Mandate.Owner != events.RegionA || read.Active != "A" || read.Config == nil {
		t.Fatalf("read %+v", read)
	}
	swap := c.intent(read)
	// The holder renews in between: the intent would end a mandate that it has not seen.
	renewal := mandate.Renew{Epoch: 1, Number: 2, FailoverRevision: read.FailoverRevision, MandateRevision: read.MandateRevision}
	if _, ok := c.owner.Renew(deadline(t), renewal, Facts{}).(mandate.Renewed); !ok {
		t.Fatal("the holder could not renew")
	}
	if err := c.Swap(deadline(t), c.leadership, swap, time.Now()); !errors.Is(err, etcd.ErrConflict) || !Refused(err) {
		t.Fatalf("over a newer mandate: %v", err)
	}
	if n := c.waiting(t); n != 0 {
		t.Errorf("%d events of an intent that was refused", n)
	}
	read = c.read(t)
	if err := c.Swap(deadline(t), c.leadership, c.intent(read), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := c.waiting(t); n != 1 {
		t.Errorf("%d events wait, want 1", n)
	}
	renewal = mandate.Renew{Epoch: 1, Number: 3, FailoverRevision: read.FailoverRevision, MandateRevision: read.MandateRevision}
	if o := c.owner.Renew(deadline(t), renewal, Facts{}); o.(mandate.Seen).Failover.Phase != state.PhaseIntent {
		t.Errorf("after the intent a renewal gives %+v", o)
	}
}

func TestALeaderWhoseTermIsOverWritesNothing(t *testing.T) {
	c := newCourt(t)
	read := c.read(t)
	swap := c.intent(read)
	swap.Active = events.RegionB
	if _, err := c.client.Delete(deadline(t), state.KeyLeader); err != nil {
		t.Fatal(err)
	}
	if err := c.Swap(deadline(t), c.leadership, swap, time.Now()); !errors.Is(err, etcd.ErrTermOver) || !Refused(err) {
		t.Errorf("got %v", err)
	}
	if after := c.read(t); after.FailoverRevision != read.FailoverRevision || after.Active != "A" || c.waiting(t) != 0 {
		t.Errorf("something was written: %+v", after)
	}
}

func TestRequestsAndReportsThatCannotBeReadHoldNobodyUp(t *testing.T) {
	c := newCourt(t)
	put := func(key, value string) {
		t.Helper()
		if _, err := c.client.Put(deadline(t), key, value); err != nil {
			t.Fatal(err)
		}
	}
	encode := func(d state.Document) string {
		t.Helper()
		data, err := state.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	request := func(id string) string {
		return encode(state.Request{Verb: state.VerbPause, Epoch: 1, Act: events.Act{Actor: "ana", Reason: "drill", Request: id, At: time.Now().UTC()}})
	}
	report := encode(state.Report{Region: events.RegionB, Incarnation: "f2.p1", Number: 1, At: time.Now().UTC(), Database: state.DatabaseReport{Condition: state.DatabaseStandby}})
	put(state.RequestKey("r1"), request("r1"))
	put(state.RequestKey("spoiled"), "{")
	put(state.RequestKey("r2"), request("r2"))
	put(state.ReportKey(events.RegionA), report) // of another region
	put(state.ReportKey(events.RegionB), report)
	read := c.read(t)
	if len(read.Requests) != 2 || read.Requests[0].ID != "r1" || read.Requests[1].ID != "r2" {
		t.Errorf("requests %+v", read.Requests)
	}
	if len(read.Reports) != 1 || read.Reports[events.RegionB].Report.Incarnation != "f2.p1" || read.Reports[events.RegionB].Revision == 0 {
		t.Errorf("reports %+v", read.Reports)
	}
	answered := read.Requests[0].Request
	answered.Answer = &state.Answer{Reason: "no", At: time.Now().UTC()}
	reply := failover.Reply{Term: c.leadership.Term, ID: "r1", Revision: read.Requests[0].Revision, Request: answered}
	if err := c.Reply(deadline(t), c.leadership, reply); err != nil {
		t.Fatal(err)
	}
	if err := c.Reply(deadline(t), c.leadership, reply); err != nil {
		t.Errorf("refused, though it is what stands there: the answer to the copy that was written may have been lost: %v", err)
	}
	other := reply
	other.Request.Answer = &state.Answer{Reason: "yes", At: time.Now().UTC()}
	if err := c.Reply(deadline(t), c.leadership, other); !errors.Is(err, etcd.ErrConflict) {
		t.Errorf("a second answer: %v", err)
	}
	again := c.read(t)
	if len(again.Requests) != 2 || again.Requests[1].ID != "r1" || again.Requests[1].Request.Answer == nil {
		t.Errorf("requests after the answer %+v", again.Requests)
	}
}

func TestAStepAndItsAnswerAndItsEventsAreOne(t *testing.T) {
	c := newCourt(t)
	act := events.Act{Actor: "ana", Reason: "drill", Request: "r1", At: time.Now().UTC()}
	request := state.Request{Verb: state.VerbPause, Epoch: 1, Act: act}
	data, err := state.Encode(request)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.Put(deadline(t), state.RequestKey("r1"), string(data)); err != nil {
		t.Fatal(err)
	}
	read := c.read(t)
	request.Answer = &state.Answer{Accepted: true, Reason: "done", At: time.Now().UTC()}
	next := *read.Failover
	next.Pause = &state.Pause{Act: act}
	paused := events.FailoverPaused{ManualFailover: events.ManualFailover{Epoch: 1, Active: events.RegionA, Act: act}}
	swap := failover.Swap{
		Term: c.leadership.Term, Next: next, Over: read.FailoverRevision, Announce: []failover.Announcement{{Payload: paused}},
		Reply: &failover.Reply{ID: "r1", Revision: read.Requests[0].Revision - 1, Request: request},
	}
	if err := c.Swap(deadline(t), c.leadership, swap, time.Now()); !errors.Is(err, etcd.ErrConflict) {
		t.Fatalf("with an answer to another revision: %v", err)
	}
	if c.read(t).Failover.Pause != nil || c.waiting(t) != 0 {
		t.Fatal("half of it was written")
	}
	swap.Reply.Revision++
	if err := c.Swap(deadline(t), c.leadership, swap, time.Now()); err != nil {
		t.Fatal(err)
	}
	after := c.read(t)
	pending, err := c.outbox.Pending(deadline(t))
	if err != nil || len(pending) != 1 || !strings.Contains(string(pending[0].Data), "failover.paused") {
		t.Errorf("waiting: %v, %v", pending, err)
	}
	if after.Failover.Pause == nil || after.Requests[0].Request.Answer == nil {
		t.Errorf("after: %+v", after)
	}
}
