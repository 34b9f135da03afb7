package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

func TestRowsThatACheckKeptOutComeInWhenItsSeverityIsChangedAndTheNextFileGoesOn(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	s.keep("project", projects)
	s.keep("invoice", invoiceHeader+"8,42,7,out_invoice,2026-02-01,2026-03-01,-5.00,0,0,CLP,posted,2026-02-01T10:00:00Z\n9,42,7,out_invoice,2026-02-02,2026-03-01,10.00,0,0,CLP,posted,2026-02-01T10:00:00Z\n")
	must(t, 0, env, "--once")
	if out := must(t, 0, env, "quarantine", "--of", "mart_fact_sales"); !strings.Contains(out, "amount_total") || !strings.Contains(out, "1 in quarantine") {
		t.Fatalf("quarantine is\n%s", out)
	}
	checks, err := os.ReadFile("../../models/checks.yml")
	if err != nil {
		t.Fatal(err)
	}
	warned := strings.Replace(string(checks), "positive: [amount_total]", "positive: {columns: [amount_total], severity: warn}", 1)
	models := t.TempDir()
	if err := os.WriteFile(filepath.Join(models, "checks.yml"), []byte(warned), 0o600); err != nil {
		t.Fatal(err)
	}
	env = append(env, "OFITEC_MODELS="+models)
	s.keep("invoice", invoiceHeader+"10,42,7,out_invoice,2026-02-03,2026-03-01,11.00,0,0,CLP,posted,2026-02-02T10:00:00Z\n")
	must(t, 0, env, "--once")
	if out := must(t, 0, env, "quarantine"); !strings.HasPrefix(out, "0 in quarantine") {
		t.Errorf("quarantine still has\n%s", out)
	}
	if out := must(t, 0, env, "verify", "--rebuild"); !strings.Contains(out, "manifest record 3;") || !regexp.MustCompile(`mart_fact_sales\s+3-`).MatchString(out) {
		t.Errorf("not all three rows are in the mart\n%s", out)
	}
}
