package etcd_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events/state"
	documents "github.com/ofitec/ofitec/services/console/internal/etcd"
)

func connect(t *testing.T, endpoints ...string) *etcd.Client {
	t.Helper()
	settings := chassis.NewSettings()
	settings.Etcd.Endpoints = endpoints
	client, err := etcd.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func put(t *testing.T, client *etcd.Client, key string, doc state.Document) {
	t.Helper()
	data, err := state.Encode(doc)
	if err == nil {
		_, err = client.Put(t.Context(), key, string(data))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAllDocumentsAreReadAtOnceAndOneThatCannotBeReadIsNamed(t *testing.T) {
	at := time.Now().UTC()
	client := connect(t, etcdtest.Start(t), chassistest.FreeAddr(t)) // one member of two is away
	put(t, client, state.KeyFailover, state.Failover{Epoch: 1, Active: "a", Phase: state.PhaseSteady, Since: at})
	put(t, client, state.KeyMandate, state.Mandate{Owner: "a", Epoch: 1, Incarnation: "i", Renewal: 1, RenewedAt: at})
	put(t, client, state.ReportKey("b"), state.Report{Region: "b", Incarnation: "i", Number: 1, At: at, Database: state.DatabaseReport{Condition: state.DatabaseStandby}})
	put(t, client, state.CredentialKey("odoo-app"), state.Credential{Name: "odoo-app", Method: "database"})
	put(t, client, state.DeploymentKey("a", "odoo-app"), state.Deployment{Region: "a", Name: "odoo-app", Number: 1, Hot: state.Blue, Phase: state.DeploymentDone, Since: at})
	if _, err := client.Put(t.Context(), state.CredentialKey("later"), `{"version":2}`); err != nil {
		t.Fatal(err)
	}
	got, err := documents.NewReader(client).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Failover.Active != "a" || got.Mandate.Owner != "a" || got.MandateRevision == 0 || got.Config != nil || len(got.Reports) != 1 || len(got.Credentials) != 1 || len(got.Deployments) != 1 {
		t.Errorf("%+v", got)
	}
	if len(got.Unread) != 1 || !strings.Contains(got.Unread[0], "/ofitec/credentials/later") || !strings.Contains(got.Unread[0], "version") {
		t.Errorf("unread %v", got.Unread)
	}
}

func TestAnEtcdThatIsAwayIsAnError(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := documents.NewReader(connect(t, chassistest.FreeAddr(t))).Read(ctx); err == nil {
		t.Error("read from nowhere")
	}
}
