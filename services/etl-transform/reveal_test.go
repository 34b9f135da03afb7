package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

func TestWhoLooksBehindATokenIsToldOfBeforeAnythingIsShown(t *testing.T) {
	folder, env := alone(t)
	key := filepath.Join(folder, "token.key")
	sealer, err := token.OpenFile(key)
	if err != nil {
		t.Fatal(err)
	}
	rut, err := sealer.Token("rut", "76.000.000-0")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := sealer.Token("rut", "76.000.000-1")
	if err != nil || !strings.HasPrefix(wrong, "rutx_") {
		t.Fatalf("a tax number with a wrong check digit has the token %s: %v", wrong, err)
	}
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	if out := must(t, 1, env, "reveal", "--reason", "audit 7", rut); !strings.Contains(out, "OFITEC_REVEAL_KEY_FILE is not set") || strings.Contains(out, "76000000") {
		t.Errorf("without the right it says %s", out)
	}
	env = append(env, "OFITEC_REVEAL_KEY_FILE="+key)
	must(t, 2, env, "reveal", rut) // no reason
	out := must(t, 0, env, "reveal", "--reason", "audit 7", "--actor", "operator:ana", rut, wrong)
	if !strings.Contains(out, rut+" 76000000-0\n") || !strings.Contains(out, wrong+" 76000000-1\n") {
		t.Errorf("it shows %s", out)
	}
	told := s.facts(events.TypeWarehouseRevealed)
	if len(told) != 1 {
		t.Fatalf("%d events tell of it, want 1", len(told))
	}
	if p := told[0].(events.WarehouseRevealed); p.Kind != "rut" || p.Tokens != 2 || p.Act.Actor != "operator:ana" || p.Act.Reason != "audit 7" {
		t.Errorf("told is %+v", p)
	}
	alone := append(env, "NATS_URL=nats://127.0.0.1:1")
	if out := must(t, 1, alone, "reveal", "--reason", "audit 8", rut); !strings.Contains(out, "nothing is shown") || strings.Contains(out, "76000000") {
		t.Errorf("without a bus it says %s", out)
	}
}

func TestARowInQuarantineComesInWhenTheModelIsPutRight(t *testing.T) {
	_, env, s := loadedOnce(t)
	s.keep("invoice", invoiceHeader+"8,42,7,out_invoice,2026-02-01,2026-03-01,10.125,0,0,CLP,posted,2026-02-01T10:00:00Z\n")
	must(t, 0, env, "rebuild")
	out := must(t, 0, env, "quarantine", "--of", "invoice")
	if !strings.Contains(out, `invoice: row 8, column amount_total, value "10.125": is not of type decimal(18,2)`) || !strings.Contains(out, "line 2 of file://") {
		t.Fatalf("quarantine is\n%s", out)
	}
	folder := t.TempDir()
	model, err := os.ReadFile("../../models/datasets/invoice.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "datasets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "datasets", "invoice.yml"), []byte(strings.Replace(string(model), "type: decimal(18,2)", "type: decimal(18,3)", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	env = append(env, "OFITEC_MODELS="+folder)
	must(t, 0, env, "rebuild")
	if out = must(t, 0, env, "quarantine", "--of", "invoice"); strings.Contains(out, "row 8,") {
		t.Errorf("quarantine still has it\n%s", out)
	}
	must(t, 0, env, "verify", "--rebuild")
}
