package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

func TestBuiltinModelsHaveTheTwelveDatasetsOfTheWarehouse(t *testing.T) {
	m, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range m.Datasets() {
		names = append(names, d.Name)
	}
	want := []string{"budget_line", "cash_balance", "cashflow_line", "cost_line", "currency_rate", "invoice", "partner", "partner_contact",
		"payment", "payment_allocation", "project", "site_progress"}
	if !slices.Equal(names, want) {
		t.Fatalf("datasets are %v, want %v", names, want)
	}
	invoice, _ := m.Dataset("invoice")
	amount, _ := invoice.Column("amount_total")
	if amount.Type.String() != "decimal(18,2)" || invoice.Key != "invoice_id" || invoice.Cursor != "write_date" {
		t.Fatalf("invoice is %+v", invoice)
	}
	partner, _ := m.Dataset("partner")
	if rut, _ := partner.Column("rut"); rut.PII != RUT {
		t.Fatalf("rut is %+v", rut)
	}
}

func compileSchema(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("schema/" + file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(file, doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestBuiltinFilesFitTheSchemasThatEditorsUse(t *testing.T) {
	for pattern, schemaFile := range map[string]string{"datasets/*.yml": "dataset.schema.json", "vault/*.yml": "vault.schema.json",
		"marts/*.yml": "mart.schema.json", "checks.yml": "checks.schema.json"} {
		schema := compileSchema(t, schemaFile)
		files, _ := filepath.Glob(pattern)
		if len(files) == 0 {
			t.Errorf("no file is %s", pattern)
		}
		for _, file := range files {
			var value any
			text, _ := os.ReadFile(file)
			if err := yaml.Unmarshal(text, &value); err != nil {
				t.Fatal(err)
			}
			asJSON, _ := json.Marshal(value)
			instance, _ := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
			if err := schema.Validate(instance); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	dataset := compileSchema(t, "dataset.schema.json")
	if err := dataset.Validate(map[string]any{"dataset": "x", "key": "id", "cursor": "w", "columns": []any{map[string]any{"name": "e", "type": "enum"}}}); err == nil {
		t.Error("the schema takes an enum without values")
	}
}

func TestTheSchemasKnowTheFieldsThatTheLoaderKnows(t *testing.T) {
	type known struct {
		Properties map[string]any
		Defs       struct {
			Column, Link struct{ Properties map[string]any }
		} `json:"$defs"`
	}
	read := func(file string) (k known) {
		text, err := os.ReadFile("schema/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &k); err != nil {
			t.Fatal(err)
		}
		return k
	}
	dataset, vault, mart := read("dataset.schema.json"), read("vault.schema.json"), read("mart.schema.json")
	for _, pair := range []struct {
		schema map[string]any
		loader []string
	}{{dataset.Properties, datasetFields}, {dataset.Defs.Column.Properties, columnFields}, {vault.Properties, vaultFields},
		{vault.Defs.Link.Properties, linkFields}, {mart.Properties, martFields}} {
		if len(pair.schema) != len(pair.loader) {
			t.Errorf("schema has %d fields, loader %v", len(pair.schema), pair.loader)
		}
		for _, field := range pair.loader {
			if pair.schema[field] == nil {
				t.Errorf("the schema lacks %s", field)
			}
		}
	}
}

const good = `dataset: crane
key: crane_id
cursor: write_date
columns:
  - name: crane_id
    type: integer
    required: true
  - {name: project_id, type: integer, references: project}
  - {name: load, type: "decimal(9, 3)"}
  - {name: write_date, type: timestamp}
`

func TestAFolderAddsDatasetsAndReplacesBuiltinOnes(t *testing.T) {
	folder := t.TempDir()
	for _, part := range []string{"datasets", "vault"} {
		if err := os.MkdirAll(filepath.Join(folder, part), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	withoutLinks := "vault: project\nhub: vault_h_project\nkey: hk_project\nbusiness_key: [project_id]\nsatellite: vault_s_project\n"
	if err := os.WriteFile(filepath.Join(folder, "vault", "project.yml"), []byte(withoutLinks), 0o644); err != nil {
		t.Fatal(err)
	}
	project := strings.NewReplacer("crane_id", "project_id", "crane", "project", "  - {name: project_id, type: integer, references: project}\n", "").Replace(good)
	for file, text := range map[string]string{"crane.yml": good, "project.yml": project, "notes.txt": "not a model"} {
		if err := os.WriteFile(filepath.Join(folder, "datasets", file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Datasets()) != 13 {
		t.Errorf("there are %d datasets, want 13", len(m.Datasets()))
	}
	crane, _ := m.Dataset("crane")
	if load, _ := crane.Column("load"); load.Type != (Type{Decimal, 9, 3}) {
		t.Errorf("load is %v", load.Type)
	}
	replaced, _ := m.Dataset("project")
	if names := replaced.Names(); !slices.Equal(names, []string{"project_id", "load", "write_date"}) {
		t.Errorf("project has %v", names)
	}
}

func TestAMistakeIsToldWithFileLineAndField(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"an unknown field", "key: crane_id", "key: crane_id\nkeys: x", "datasets/crane.yml:3: keys: is not a known field"},
		{"a field given twice", "key: crane_id", "key: crane_id\nkey: other", "datasets/crane.yml:3: key: is given twice"},
		{"an unknown type", "type: timestamp", "type: datetime", `datasets/crane.yml:10: columns[3].type: "datetime" is not a type`},
		{"a decimal without digits", `"decimal(9, 3)"`, "decimal", "datasets/crane.yml:9: columns[2].type: decimal needs digits"},
		{"a decimal that is too wide", `"decimal(9, 3)"`, `"decimal(39,3)"`, "digits in all must be 1 to 38"},
		{"a reference to nothing", "references: project", "references: projects", `datasets/crane.yml:8: columns[1].references: "projects" is not a dataset`},
		{"a key that is no column", "key: crane_id", "key: id", `datasets/crane.yml:2: key: "id" is not a column`},
		{"a key that may be missing", "    required: true\n", "", `datasets/crane.yml:2: key: column "crane_id" must be a required integer`},
		{"a cursor that is no time", "cursor: write_date", "cursor: load", `datasets/crane.yml:3: cursor: column "load" must be a timestamp`},
		{"a name that is no name", "name: load", "name: Load", `"Load" is not a name`},
		{"a column twice", "name: load", "name: crane_id", `columns[2].name: "crane_id" is already defined at line 5`},
		{"an enum without values", "type: timestamp", "type: enum", "columns[3].values: is missing"},
		{"personal data that is no text", "type: timestamp", "type: timestamp, pii: rut", "columns[3].pii: personal data is text"},
		{"a file under another name", "dataset: crane", "dataset: lorry", `datasets/crane.yml:1: dataset: is "lorry" but the file is named "crane"`},
		{"a file that is no YAML", "columns:", "columns: [", "datasets/crane.yml"},
		{"a policy that is none", "cursor: write_date", "cursor: write_date\ndrift: ignore", `datasets/crane.yml:4: drift: "ignore" is not a policy; policies are evolve, freeze, discard_row`},
		{"required that is no boolean", "required: true", "required: maybe", `columns[0].required: "maybe" is not true or false`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.from, c.to, 1)
			_, err := Load(builtin, fstest.MapFS{"datasets/crane.yml": {Data: []byte(text)}})
			var invalid *InvalidError
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	text := strings.NewReplacer("type: timestamp", "type: datetime", `"decimal(9, 3)"`, "money").Replace(good)
	_, err := Load(builtin, fstest.MapFS{"datasets/crane.yml": {Data: []byte(text)}, "datasets/empty.yml": {Data: nil}})
	var invalid *InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 3 {
		t.Fatalf("got %v, want three problems", err)
	}
}

func TestAFolderThatIsNotThereIsAnError(t *testing.T) {
	if _, err := Open("/nowhere"); err == nil {
		t.Fatal("opened a folder that is not there")
	}
}
