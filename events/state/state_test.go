package state_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC)

func act() events.Act {
	return events.Act{Actor: "maria", Reason: "planned maintenance of region a", Request: "r-1", At: at}
}

func intent() state.Failover {
	bytes, seconds := int64(0), 0.25
	return state.Failover{
		Epoch: 6, Active: events.RegionA, Phase: state.PhaseFenced, Since: at,
		Intent: &state.Intent{
			Epoch: 7, From: events.RegionA, To: events.RegionB, Cause: events.CauseDown, DecidedAt: at, Deadline: at.Add(time.Second), MandateRevision: 99,
			Loss:     events.LossBound{Seconds: &seconds, Bytes: &bytes},
			Receipt:  &events.Receipt{Region: events.RegionA, Epoch: 6, Counts: []int{3, 0, 0}, Refused: true, FlushLSN: 0x16B3748, Timeline: 1, WrittenAt: at},
			Steps:    []state.Step{{Phase: state.PhaseIntent, At: at, Term: 12}, {Phase: state.PhaseFenced, At: at, Term: 12}},
			Decision: "failover.started.erp.7",
		},
	}
}

func documents() []state.Document {
	expires := at.Add(time.Hour)
	return []state.Document{
		state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseSteady, Since: at},
		state.Failover{Phase: state.PhaseSteady, Since: at},
		intent(),
		state.Mandate{Owner: events.RegionA, Epoch: 1, Incarnation: "f1.p1", Renewal: 4, RenewedAt: at, FlushLSN: 1 << 33, Timeline: 1, HeartbeatNumber: 4, HeartbeatAt: &at},
		state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001},
		state.Request{Verb: state.VerbSwitchover, To: events.RegionB, Epoch: 6, Act: act()},
		state.Credential{Name: "odoo-db", Method: events.CredentialDatabase, Term: 3, Versions: []state.CredentialVersion{
			{Number: 1, Stage: state.StageCurrent, Path: "odoo/odoo-db", MintedAt: at, ExpiresAt: expires, DeadlineAt: expires},
		}},
		state.Deployment{Region: events.RegionA, Name: "odoo-db", Number: 1, Hot: state.Blue, Phase: state.DeploymentDone, Since: at, Cause: "credential.rotated.odoo-db.1"},
		state.Report{
			Region: events.RegionB, Incarnation: "f1.p1", Number: 9, At: at,
			Database:  state.DatabaseReport{Condition: state.DatabaseStandby, Timeline: 1, FlushLSN: 1 << 25, Streaming: true, HeartbeatNumber: 7, HeartbeatAt: &at},
			Promotion: &state.Promotion{Epoch: 7, Done: true, Timeline: 2, LSN: 1 << 25, At: at},
		},
	}
}

func decodeAs(doc state.Document, data []byte) (state.Document, error) {
	switch doc.(type) {
	case state.Failover:
		return state.Decode[state.Failover](data)
	case state.Mandate:
		return state.Decode[state.Mandate](data)
	case state.Config:
		return state.Decode[state.Config](data)
	case state.Request:
		return state.Decode[state.Request](data)
	case state.Credential:
		return state.Decode[state.Credential](data)
	case state.Deployment:
		return state.Decode[state.Deployment](data)
	case state.Report:
		return state.Decode[state.Report](data)
	}
	panic("no case for " + doc.Kind())
}

func TestEveryDocumentComesBackAsItWasWritten(t *testing.T) {
	for _, doc := range documents() {
		data, err := state.Encode(doc)
		if err != nil {
			t.Fatalf("%s: %v", doc.Kind(), err)
		}
		if !strings.HasPrefix(string(data), `{"version":1,`) {
			t.Errorf("%s does not begin with its version: %s", doc.Kind(), data)
		}
		back, err := decodeAs(doc, data)
		if err != nil {
			t.Fatalf("%s: %v", doc.Kind(), err)
		}
		if !reflect.DeepEqual(back, doc) {
			t.Errorf("%s came back as %+v, was %+v", doc.Kind(), back, doc)
		}
	}
}

func TestADocumentThatIsNotExactlyKnownIsRefused(t *testing.T) {
	good, _ := state.Encode(state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001})
	for name, text := range map[string]string{
		"another version":   strings.Replace(string(good), `"version":1`, `"version":2`, 1),
		"no version":        strings.Replace(string(good), `"version":1,`, ``, 1),
		"an unknown field":  strings.Replace(string(good), `{`, `{"novel":true,`, 1),
		"data behind it":    string(good) + `{}`,
		"not JSON":          `A`,
		"nothing":           ``,
		"null":              `null`,
		"a broken rule":     strings.Replace(string(good), `"delta_seconds":0.5`, `"delta_seconds":9`, 1),
		"a different shape": `[1]`,
	} {
		if _, err := state.Decode[state.Config]([]byte(text)); err == nil {
			t.Errorf("%s was accepted: %s", name, text)
		}
	}
	_, err := state.Decode[state.Config]([]byte(strings.Replace(string(good), `"version":1`, `"version":2`, 1)))
	if !errors.Is(err, state.ErrVersion) {
		t.Errorf("another version gives %v, want ErrVersion", err)
	}
}

func TestAnImpossibleStateIsRefusedAndEveryProblemIsNamed(t *testing.T) {
	broken := intent()
	broken.Intent.To = "c"
	broken.Intent.Epoch = 6
	broken.Intent.Receipt.Counts = []int{0, 1}
	_, err := state.Encode(broken)
	var invalid *events.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %v, want an InvalidError", err)
	}
	for _, want := range []string{"intent.to", "intent.epoch", "intent.receipt.counts"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in %v", want, err)
		}
	}
	steady := state.Failover{Epoch: 1, Active: events.RegionA, Phase: state.PhaseIntent, Since: at}
	if _, err := state.Encode(steady); err == nil {
		t.Error("a phase intent without an intent was accepted")
	}
}

func TestTheActiveRegionIsOneUpperCaseLetter(t *testing.T) {
	for _, region := range []events.Region{"a", "b", ""} {
		data, err := state.EncodeActive(region)
		if err != nil {
			t.Fatal(err)
		}
		back, err := state.DecodeActive(data)
		if err != nil || back != region {
			t.Errorf("%q came back as %q, %v", region, back, err)
		}
	}
	for _, text := range []string{"a", "C", "A\n", `"A"`} {
		if _, err := state.DecodeActive([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	if _, err := state.EncodeActive("c"); err == nil {
		t.Error("region c was accepted as active")
	}
}

func TestPositionsAreWrittenAsPostgreSQLDoes(t *testing.T) {
	data, _ := json.Marshal(events.LSN(0x1_016B3748))
	if string(data) != `"1/16B3748"` {
		t.Errorf("got %s", data)
	}
}
