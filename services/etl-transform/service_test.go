package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

// alone is what a transform needs that has nothing around it but the bus.
func alone(t *testing.T) (folder string, env []string) {
	t.Helper()
	folder = t.TempDir()
	key := filepath.Join(folder, "token.key")
	if err := os.WriteFile(key, bytes.Repeat([]byte("k"), 32), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, []string{"OFITEC_WAREHOUSE=" + folder, "OFITEC_TOKEN_KEY_FILE=" + key, "OFITEC_DUCKDB_MEMORY_LIMIT=512MiB", "OFITEC_DUCKDB_THREADS=1"}
}

func TestItBehavesLikeEveryService(t *testing.T) {
	_, env := alone(t)
	chassistest.Conduct(t, name, env...)
}

// source makes raw files and tells of them, as etl-ingest does.
type source struct {
	t        *testing.T
	root     string
	js       jetstream.JetStream
	sequence int64
	previous string // hash of the manifest's last record
}

func newSource(t *testing.T, folder, url string) *source {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bus.Provision(t.Context(), js, bus.Setup{Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	return &source{t: t, root: filepath.Join(folder, "raw"), js: js}
}

// announce keeps a file and publishes its event.
func (s *source) announce(dataset, content string) events.Event {
	s.t.Helper()
	event := s.keep(dataset, content)
	if _, err := bus.NewJetStream(s.js, nil).Publish(s.t.Context(), event); err != nil {
		s.t.Fatal(err)
	}
	return event
}

// keep makes a file and its record in the manifest, and gives the event that would tell of it.
func (s *source) keep(dataset, content string) events.Event {
	return s.keepAs("rows", dataset, content)
}

// keepAs is keep for a file of another kind.
func (s *source) keepAs(kind, dataset, content string) events.Event {
	s.t.Helper()
	s.sequence++
	sum := sha256.Sum256([]byte(content))
	hash := hex.EncodeToString(sum[:])
	path := filepath.Join(s.root, dataset, hash+".csv")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	clock := time.Date(2026, 11, 1, 0, 0, int(s.sequence), 0, time.UTC)
	ready := events.ExportReady{
		Dataset: dataset, Region: "a", Batch: fmt.Sprintf("b%04d", s.sequence), RawURL: "file://" + path, Format: "csv", Kind: kind, SHA256: hash, Rows: int64(strings.Count(content, "\n") - 1),
		Bytes: int64(len(content)), AsOf: events.AsOf{Epoch: 1, SourceClock: clock}, Sequence: s.sequence,
	}
	event, err := events.New(events.Origin{Region: "a", Service: events.ServiceIngest}, clock, ready)
	if err != nil {
		s.t.Fatal(err)
	}
	s.record(event, ready)
	return event
}

// record adds to the manifest.
func (s *source) record(event events.Event, ready events.ExportReady) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{
		"version": 1, "sequence": ready.Sequence, "previous": s.previous, "kind": ready.Kind, "dataset": ready.Dataset, "region": ready.Region, "batch": ready.Batch,
		"path": strings.TrimPrefix(ready.RawURL, "file://"+s.root+"/"), "format": ready.Format, "sha256": ready.SHA256, "rows": ready.Rows, "bytes": ready.Bytes, "asof": ready.AsOf,
		"event_id": event.ID, "event_time": event.Time,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	s.previous = hex.EncodeToString(sum[:])
	path := filepath.Join(s.root, manifest.Name(ready.Sequence))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(string(body[:len(body)-1])+`,"hash":"`+s.previous+"\"}\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// facts lists the types of what was published, with the payload, from the beginning.
func (s *source) facts(kind events.Type) []events.Payload {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	stream, err := s.js.Stream(ctx, events.StreamFacts)
	if err != nil {
		s.t.Fatal(err)
	}
	var all []events.Payload
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		message, err := stream.GetMsg(ctx, sequence)
		if err != nil {
			s.t.Fatal(err)
		}
		event, err := events.Decode(message.Data)
		if err != nil {
			s.t.Fatal(err)
		}
		if event.Type != kind {
			continue
		}
		payload, err := event.Payload()
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, payload)
	}
	return all
}

const (
	projects = "project_id,project_name,partner_id,manager,state,date_start,date_end,contract_amount,contract_currency,approved_changes,budget_cost,estimate_at_completion,write_date\r\n" +
		"42,\"Torre, norte\",7,Ana,open,2026-01-01,,1000000.0000,CLP,0,500000.00,,2026-01-02T00:00:00.000000Z\r\n"
	partners = "partner_id,partner_name,rut,email,phone,is_customer,is_supplier,write_date\n" +
		"7,Constructora,76.000.000-0,Ana@Example.cl,+56 9 1234 5678,true,false,2026-01-02T00:00:00Z\n"
	invoiceHeader = "invoice_id,project_id,partner_id,move_type,date,due_date,amount_total,amount_tax,retention_amount,currency,state,write_date\n"
	invoices      = invoiceHeader +
		"1,42,7,out_invoice,2026-02-01,2026-03-01,1190.50,190.50,0,CLP,posted,2026-02-01T10:00:00Z\n" +
		"2,,7,out_refund,2026-02-02,,100.00,,,CLP,posted,2026-02-02T10:00:00Z\n" +
		"3,42,7,in_invoice,2026-02-02,,77.00,,,CLP,posted,2026-02-02T10:00:00Z\n" +
		"4,42,7,out_invoice,2026-02-03,,0.00,,,CLP,posted,2026-02-03T10:00:00Z\n" +
		"5,42,7,out_invoice,2026-02-30,,5.00,,,CLP,posted,2026-02-03T10:00:00Z\n"
)

func TestASingleRunLoadsWhatIsThereAndASecondOneFindsNothingNew(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	s.announce("project", projects)
	s.announce("partner", partners)
	s.announce("invoice", invoices)
	status, out, complaints := chassistest.Run(t, []string{"--once"}, env...)
	if status != 0 {
		t.Fatalf("exit status %d\n%s\n%s", status, out, complaints)
	}
	for _, want := range []string{"invoice              5 rows read, 1 to quarantine", "mart_fact_sales      2 rows, 1 kept out", "3 files in 1 transactions"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if loaded := s.facts(events.TypeWarehouseLoaded); len(loaded) != 1 {
		t.Errorf("%d warehouse.loaded, want 1", len(loaded))
	} else if p := loaded[0].(events.WarehouseLoaded); p.Read.Rows != 7 || p.Sequence != 3 || len(p.Batches) != 3 {
		t.Errorf("loaded is %+v", p)
	}
	checked := s.facts(events.TypeWarehouseChecked)
	if len(checked) != 1 {
		t.Fatalf("%d warehouse.checked, want 1", len(checked))
	}
	if text, _ := json.Marshal(checked[0]); !bytes.Contains(text, []byte(`{"mart":"mart_fact_sales","passed":1,"failed":1,"warned":0,"quarantined_rows":1,"missing_amount":"0.00"}`)) {
		t.Errorf("checked is %s", text)
	}

	status, out, complaints = chassistest.Run(t, []string{"--once"}, env...)
	if status != 0 || !strings.Contains(out, "0 files in 0 transactions") {
		t.Errorf("the second run: exit status %d\n%s\n%s", status, out, complaints)
	}
	if loaded := s.facts(events.TypeWarehouseLoaded); len(loaded) != 1 {
		t.Errorf("%d warehouse.loaded after a second run", len(loaded))
	}
}

func TestAWarehouseThatIsLostIsMadeAnewFromTheManifestWithNothingOnTheBus(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	s.announce("project", projects)
	s.announce("invoice", invoices)
	for _, want := range []string{"2 files in 1 transactions", "2 files in 1 transactions"} {
		if status, out, complaints := chassistest.Run(t, []string{"--once"}, env...); status != 0 || !strings.Contains(out, want) {
			t.Fatalf("exit status %d, want 0 and %q\n%s\n%s", status, want, out, complaints)
		}
		if err := os.Remove(filepath.Join(folder, "ofitec.duckdb")); err != nil {
			t.Fatal(err)
		}
	}
	loaded := s.facts(events.TypeWarehouseLoaded)
	if len(loaded) != 2 || loaded[1].(events.WarehouseLoaded).Load.Load <= loaded[0].(events.WarehouseLoaded).Load.Load {
		t.Errorf("loaded are %+v: a number must not be used twice", loaded)
	}
}

// digestsIn opens a warehouse that nobody has open.
func digestsIn(t *testing.T, folder string) map[string]string {
	t.Helper()
	c := NewConfig()
	c.Warehouse, c.TokenKeyFile, c.Engine.MemoryLimit = folder, filepath.Join(folder, "token.key"), "512MiB"
	w, err := c.openWarehouse(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	all := map[string]string{}
	for _, table := range w.Tables() {
		if all[table], err = w.Digest(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestATransformThatIsKilledAgainAndAgainEndsWithTheWarehouseOfAnUndisturbedOne(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute on a busy machine")
	}
	url := chassistest.NATS(t)
	random := rand.New(rand.NewPCG(1, 2))
	var undisturbed map[string]string
	most := 20
	if os.Getenv("OFITEC_DRILLS") != "" {
		most = 200
	}
	for _, kills := range []int{0, most} {
		folder, env := alone(t)
		s := newSource(t, folder, url)
		for f := range most / 2 {
			var invoice, project strings.Builder
			invoice.WriteString(invoiceHeader)
			project.WriteString("project_id,project_name,write_date\n")
			for i := range 200 {
				fmt.Fprintf(&invoice, "%d,%d,7,out_invoice,2026-02-01,,%d.50,0,0,CLP,posted,2026-02-%02dT10:00:00Z\n", 50*f+i, i%9+1, i, f%6+1)
				fmt.Fprintf(&project, "%d,tower %d,2026-02-%02dT10:00:00Z\n", i%9+1, f, f%6+1)
			}
			s.keep("invoice", invoice.String())
			s.keep("project", project.String())
		}
		env = append(env, "NATS_URL="+url, "OFITEC_BATCH_FILES=1")
		for range kills {
			p := chassistest.Start(t, env...)
			time.Sleep(time.Duration(100+random.IntN(700)) * time.Millisecond) // wherever it is then
			p.Signal(t, syscall.SIGKILL)
			p.AwaitEnd(t)
		}
		if status, out, complaints := chassistest.Run(t, []string{"--once"}, env...); status != 0 {
			t.Fatalf("exit status %d after %d kills\n%s\n%s", status, kills, out, complaints)
		}
		digests := digestsIn(t, folder)
		if kills == 0 {
			undisturbed = digests
		}
		for table, digest := range digests {
			if undisturbed[table] != digest {
				t.Errorf("%s has %s after %d kills, undisturbed %s", table, digest, kills, undisturbed[table])
			}
		}
	}
}

func TestANewTokenKeyMakesTheWarehouseAnewAndKeepsTheOneBefore(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	s.announce("partner", partners)
	for range 2 {
		status, out, complaints := chassistest.Run(t, []string{"--once"}, env...)
		if status != 0 || !strings.Contains(out, "1 files in 1 transactions") {
			t.Fatalf("exit status %d\n%s\n%s", status, out, complaints)
		}
		if err := os.WriteFile(filepath.Join(folder, "token.key"), bytes.Repeat([]byte("j"), 40), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(folder, "ofitec.duckdb.2*")); len(aside) != 1 {
		t.Errorf("put aside are %v, want one", aside)
	}
}

func TestARawFileThatIsNotWhatWasAnnouncedIsNotLoadedAndTheOthersAre(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	event := s.announce("invoice", invoices)
	ready, err := events.PayloadOf[events.ExportReady](event)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strings.TrimPrefix(ready.RawURL, "file://"), []byte(invoiceHeader), 0o600); err != nil {
		t.Fatal(err)
	}
	s.announce("project", projects)
	status, out, complaints := chassistest.Run(t, []string{"--once"}, append(env, "NATS_URL="+url)...)
	if status != 1 || !strings.Contains(complaints, "announced was "+ready.SHA256) {
		t.Errorf("exit status %d\n%s\n%s", status, out, complaints)
	}
	if !strings.Contains(out, "project              1 rows read, 0 to quarantine") {
		t.Errorf("the other file is not in:\n%s", out)
	}
}

func TestAFileOfADatasetWithoutAModelIsParkedAndHoldsUpNobody(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	s.announce("crane", "crane_id\n1\n")
	s.announce("project", projects)
	p := chassistest.Start(t, append(env, "NATS_URL="+url)...)
	p.Await(t, "/readyz", 200)
	deadline := time.Now().Add(30 * time.Second)
	for {
		parked, err := s.js.Stream(t.Context(), events.StreamParked)
		if err != nil {
			t.Fatal(err)
		}
		if parked.CachedInfo().State.Msgs == 1 && len(s.facts(events.TypeWarehouseLoaded)) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d parked, %d loaded after 30 s", parked.CachedInfo().State.Msgs, len(s.facts(events.TypeWarehouseLoaded)))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestASecondProcessOnTheSameFileIsRefused(t *testing.T) {
	_, env := alone(t)
	env = append(env, "NATS_URL="+chassistest.NATS(t))
	first := chassistest.Start(t, env...)
	first.Await(t, "/readyz", 200)
	status, _, complaints := chassistest.Run(t, []string{"--once"}, env...)
	if status != 1 || !strings.Contains(complaints, "the warehouse is open in another process") {
		t.Errorf("exit status %d: %s", status, complaints)
	}
	var s struct{ Datasets []struct{ Dataset string } }
	if err := json.Unmarshal([]byte(first.Await(t, "/v1/status", 200)), &s); err != nil || len(s.Datasets) != 12 {
		t.Errorf("status has %d datasets: %v", len(s.Datasets), err)
	}
}

func TestTheServiceLoadsWhatIsAnnouncedWhileItRuns(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	p := chassistest.Start(t, append(env, "NATS_URL="+url)...)
	p.Await(t, "/readyz", 200)
	s.announce("invoice", invoices)
	deadline := time.Now().Add(30 * time.Second)
	for len(s.facts(events.TypeWarehouseLoaded)) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("nothing was loaded within 30 s")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, body := p.Get("/metrics"); !strings.Contains(body, `ofitec_etl_transform_read_rows_total{dataset="invoice"} 5`) {
		t.Error("the rows that were read are not counted")
	}
	if _, body := p.Get("/metrics"); !strings.Contains(body, `ofitec_etl_transform_failing_checks{mart="mart_fact_sales",severity="error"} 1`) {
		t.Error("the check that fails is not counted")
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
