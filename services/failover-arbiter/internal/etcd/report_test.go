package etcd

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func report(incarnation string, number int64) state.Report {
	return state.Report{
		Region: events.RegionA, Incarnation: incarnation, Number: number, At: time.Now().UTC(),
		Database: state.DatabaseReport{Condition: state.DatabaseStandby, Timeline: 1, FlushLSN: 7},
	}
}

func TestAReportReplacesTheOneBeforeWhoeverWroteIt(t *testing.T) {
	address := etcdtest.Start(t)
	client, err := etcd.Connect(chassis.Settings{Etcd: chassis.EtcdSettings{Endpoints: []string{address, address, address}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	reads := func() (state.Report, int64) {
		t.Helper()
		response, err := client.Get(deadline(t), state.ReportKey(events.RegionA))
		if err != nil || len(response.Kvs) != 1 {
			t.Fatalf("read report: %v, %d found", err, len(response.Kvs))
		}
		r, err := state.Decode[state.Report](response.Kvs[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		return r, response.Kvs[0].ModRevision
	}
	one := NewReports(etcd.NewNearest(client.Endpoints(), 0), events.RegionA)
	var last int64
	for number := int64(1); number <= 20; number++ {
		if err := one.Put(deadline(t), report("f.p1", number)); err != nil {
			t.Fatal(err)
		}
		stands, revision := reads()
		if stands.Number != number || revision <= last {
			t.Fatalf("number %d stands at revision %d after %d, want number %d", stands.Number, revision, last, number)
		}
		last = revision
	}
	two := NewReports(etcd.NewNearest(client.Endpoints(), 0), events.RegionA) // the next process of the region
	if err := two.Put(deadline(t), report("f.p2", 1)); err != nil {
		t.Fatal(err)
	}
	if stands, _ := reads(); stands.Incarnation != "f.p2" {
		t.Errorf("the report is %s's", stands.Incarnation)
	}
	if _, err := client.Delete(deadline(t), state.ReportKey(events.RegionA)); err != nil {
		t.Fatal(err)
	}
	if err := two.Put(deadline(t), report("f.p2", 2)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := two.Put(ended, report("f.p2", 3)); err == nil {
		t.Error("no error after the deadline")
	}
	if err := two.Put(deadline(t), report("f.p2", 4)); err != nil {
		t.Fatal(err)
	}
	if stands, _ := reads(); stands.Number != 4 {
		t.Errorf("number %d stands there", stands.Number)
	}
	// A copy of an older report that arrives late changes nothing.
	late, err := client.Txn(deadline(t)).If(clientv3.Compare(clientv3.ModRevision(state.ReportKey(events.RegionA)), "=", last)).
		Then(clientv3.OpPut(state.ReportKey(events.RegionA), "late")).Commit()
	if err != nil || late.Succeeded {
		t.Errorf("a late copy: %v, %+v", err, late)
	}
}
