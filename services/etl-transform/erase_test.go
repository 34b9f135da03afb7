package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
)

const (
	partnerHeader = "partner_id,partner_name,rut,email,phone,is_customer,is_supplier,write_date\n"
	contactHeader = "contact_id,partner_id,kind,email,phone,write_date\n"
	another       = "8,Vecina,15.509.661-6,bea@example.cl,912345679,true,false,2026-01-02T00:00:00Z\n"
)

// rawTexts are the contents of all raw files below a root.
func rawTexts(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	store := raw.New("file://"+root, raw.Folder(root))
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, root+"/")
		if err != nil || d.IsDir() || strings.HasPrefix(name, "_manifest") || strings.HasPrefix(name, ".spool") {
			return err
		}
		in, err := store.Open(t.Context(), "file://"+path)
		if err != nil {
			return err
		}
		defer in.Close()
		var content strings.Builder
		buffer := make([]byte, 1<<16)
		for {
			n, err := in.Read(buffer)
			content.Write(buffer[:n])
			if err != nil {
				break
			}
		}
		all.WriteString(content.String())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// tellLast announces the manifest's last record, as etl-ingest does, and lets the source go on behind it.
func (s *source) tellLast() {
	s.t.Helper()
	store := raw.New("file://"+s.root, raw.Folder(s.root))
	found, next, err := manifest.From(s.t.Context(), store, store.URL(), s.sequence+1, 100)
	if err != nil || len(found) == 0 {
		s.t.Fatalf("there is no record behind %d: %v", s.sequence, err)
	}
	line, _, err := store.Read(s.t.Context(), manifest.Name(next-1))
	if err != nil {
		s.t.Fatal(err)
	}
	var last struct{ Hash string }
	if err := json.Unmarshal(line, &last); err != nil {
		s.t.Fatal(err)
	}
	s.sequence, s.previous = next-1, last.Hash
	for _, a := range found {
		if _, err := bus.NewJetStream(s.js, nil).Publish(s.t.Context(), a.Event); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestAPersonThatIsErasedIsInNoFileAndBothRegionsFollow(t *testing.T) {
	folder, env := alone(t)
	url := chassistest.NATS(t)
	s := newSource(t, folder, url)
	env = append(env, "NATS_URL="+url)
	s.announce("partner", partners+another)
	s.announce("partner", partnerHeader+"7,Constructora,76.000.000-0,otra@example.cl,,true,false,2026-01-03T00:00:00Z\n")
	s.announce("partner_contact", contactHeader+"1,7,legal,ana@example.cl,912345678,2026-01-02T00:00:00Z\n2,8,legal,bea@example.cl,,2026-01-02T00:00:00Z\n")
	s.announce("partner_contact", contactHeader+"1,8,legal,carla@example.cl,,2026-01-04T00:00:00Z\n3,7,bad,x,,not a date\n")
	s.announce("invoice", invoices)
	p := chassistest.Start(t, env...)
	waitFor(t, "a snapshot", func() bool { now, _ := readContentsIn(folder); return now.Sequence == 5 })

	// The other region has the same raw files and no bus: it reads the manifest.
	other, otherEnv := alone(t)
	otherEnv = append(otherEnv, "OFITEC_RAW_URL=file://"+s.root, "NATS_URL="+chassistest.NATS(t))
	must(t, 0, otherEnv, "--once")

	for _, point := range []string{"replaced", "recorded", "removed one"} {
		if status, out, complaints := chassistest.Run(t, []string{"erase", "partner", "7", "--reason", "request 12"}, append(env, "OFITEC_TEST_KILL_AT="+point)...); status != -1 {
			t.Fatalf("it was not killed at %q: %d\n%s\n%s", point, status, out, complaints)
		}
	}
	must(t, 0, env, "erase", "partner", "7", "--reason", "request 12")
	if texts := rawTexts(t, s.root); strings.Contains(texts, "76.000.000") || strings.Contains(texts, "otra@") || !strings.Contains(texts, "15.509.661-6") || !strings.Contains(texts, "carla@") {
		t.Errorf("raw files are\n%s", texts)
	}
	if out := must(t, 0, env, "erase", "partner", "7", "--reason", "request 12"); !strings.Contains(out, "no raw file has rows of partner 7") {
		t.Errorf("a second time it says\n%s", out)
	}
	s.tellLast()
	if s.sequence != 6 {
		t.Errorf("the manifest ends at %d: it was recorded more than once", s.sequence)
	}
	waitFor(t, "a warehouse without the rows", func() bool { now, _ := readContentsIn(folder); return now.Sequence == 6 })
	s.announce("partner", partnerHeader+"9,Nueva,60.803.000-K,eva@example.cl,,true,false,2026-01-05T00:00:00Z\n")
	waitFor(t, "what comes after", func() bool { now, _ := readContentsIn(folder); return now.Sequence == 7 })
	p.Signal(t, syscall.SIGTERM)
	if status := p.AwaitEnd(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	must(t, 0, otherEnv, "--once")

	key := sealerOf(t, filepath.Join(folder, "token.key"))
	seen := map[string]bool{}
	for one := range tokensIn(t, folder) {
		value, err := key.Reveal(kindOf(one), one)
		if err != nil {
			t.Fatal(err)
		}
		seen[value] = true
	}
	for _, value := range []string{"76000000-0", "ana@example.cl", "otra@example.cl", "+56912345678"} {
		if seen[value] {
			t.Errorf("%s is still there, as a token", value)
		}
	}
	if !seen["60803000-K"] || !seen["15509661-6"] {
		t.Errorf("tokens are of %v", seen)
	}
	must(t, 0, env, "verify", "--rebuild")
	mustBeEqual(t, env, otherEnv)
	// Whoever loses the warehouse, and whoever is told of the old files again, has the same.
	if err := os.Remove(filepath.Join(other, "ofitec.duckdb")); err != nil {
		t.Fatal(err)
	}
	must(t, 0, otherEnv, "--once")
	mustBeEqual(t, env, otherEnv)
}

// mustBeEqual compares two warehouses.
func mustBeEqual(t *testing.T, env, other []string) {
	t.Helper()
	said := filepath.Join(t.TempDir(), "said.json")
	if err := os.WriteFile(said, []byte(must(t, 0, other, "verify", "-o", "json")), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, 0, env, "verify", "--against", said)
}
