package models

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestEveryDatasetIsKeptInTheVault(t *testing.T) {
	m, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Datasets() {
		v, ok := m.Vault(d.Name)
		if !ok {
			t.Errorf("dataset %s has no vault", d.Name)
		}
		for _, c := range d.Columns {
			if c.References != "" && !slices.ContainsFunc(v.Links, func(l Link) bool { return l.Column == c.Name }) {
				t.Errorf("%s.%s references %s and has no link", d.Name, c.Name, c.References)
			}
		}
	}
	invoice, _ := m.Vault("invoice")
	if invoice.Hub != "vault_h_invoice" || invoice.Satellite != "vault_s_invoice" || invoice.Links[0].Table != "vault_l_project_invoice" {
		t.Errorf("invoice is %+v", invoice)
	}
}

func TestAMistakeInAVaultAMartOrTheChecksIsToldWithFileLineAndField(t *testing.T) {
	vault := "vault: crane\nhub: vault_h_crane\nkey: hk_crane\nbusiness_key: [crane_id]\nsatellite: vault_s_crane\nlinks:\n" +
		"  - table: vault_l_project_crane\n    effectivity: vault_e_project_crane\n    column: project_id\n    key: hk_project\n    link_key: hk_project_crane\n"
	mart := "mart: mart_crane\ngrain: [hk_crane]\nreads: [crane]\n"
	checks := "checks:\n  - table: mart_crane\n    tests:\n      - not_null: [hk_crane]\n"
	for _, c := range []struct{ name, file, from, to, want string }{
		{"nothing wrong", "", "", "", ""},
		{"a hub that is not named as one", "vault/crane.yml", "vault_h_crane", "h_crane", `vault/crane.yml:2: hub: "h_crane" must begin with vault_h_`},
		{"a business key that is no column", "vault/crane.yml", "[crane_id]", "[id]", `vault/crane.yml:4: business_key: "id" is not a column of dataset crane`},
		{"a business key that may be missing", "vault/crane.yml", "[crane_id]", "[load]", `vault/crane.yml:4: business_key: column "load" must be required`},
		{"a link by a column that references nothing", "vault/crane.yml", "column: project_id", "column: load", `vault/crane.yml:7: links[0].column: column "load" references no dataset`},
		{"a table made twice", "vault/crane.yml", "vault_s_crane", "vault_s_invoice", `is already made by vault/crane.yml`},
		{"an unknown field of a link", "vault/crane.yml", "link_key", "linkkey", "vault/crane.yml:11: links[0].linkkey: is not a known field"},
		{"a mart that reads nothing known", "marts/mart_crane.yml", "reads: [crane]", "reads: [cranes]", `marts/mart_crane.yml:3: reads[0]: "cranes" is neither`},
		{"a mart that reads itself", "marts/mart_crane.yml", "reads: [crane]", "reads: [mart_crane]", `leads back to this mart`},
		{"a number that stands beside no key", "marts/mart_crane.yml", "reads:", "near: crane_id\nreads:", "marts/mart_crane.yml:3: near: needs a key"},
		{"sums without a count", "marts/mart_crane.yml", "reads:", "sums: mart_fact_sales\nreads:", "sums: and count belong together"},
		{"sums that nothing refreshes", "marts/mart_crane.yml", "reads:", "sums: mart_fact_sales\ncount: n\nreads:", `marts/mart_crane.yml:3: sums: "mart_fact_sales" is not among refresh`},
		{"a mart with half a driver", "marts/mart_crane.yml", "reads:", "key: hk_crane\nreads:", "driven_by: and key belong together"},
		{"tests as a map, which checked nothing", "checks.yml", "      - not_null: [hk_crane]", "      not_null: [hk_crane]", "checks.yml:2: checks[0].tests: must be a list of maps"},
		{"an unknown test", "checks.yml", "not_null:", "notnull:", "checks.yml:4: checks[0].tests[0].notnull: is not a kind of test"},
		{"a range without bounds", "checks.yml", "not_null: [hk_crane]", "accepted_range: {column: x}", "checks.yml:4: checks[0].tests[0].accepted_range: needs min, max or both"},
		{"a bound that is no number", "checks.yml", "not_null: [hk_crane]", "accepted_range: {column: x, min: much}", `checks.yml:4: checks[0].tests[0].accepted_range.min: "much" is not a decimal`},
		{"a pattern that is none", "checks.yml", "not_null: [hk_crane]", "regex: {column: x, pattern: '('}", "checks.yml:4: checks[0].tests[0].regex.pattern: is not a regular expression"},
		{"a relationship to nowhere", "checks.yml", "not_null: [hk_crane]", "relationships: {column: x, to: y}", `checks.yml:4: checks[0].tests[0].relationships.to: "y" is not <table>.<column>`},
		{"a freshness without a time", "checks.yml", "not_null: [hk_crane]", "freshness: {column: x, within: soon}", `checks.yml:4: checks[0].tests[0].freshness.within: "soon" is not a time`},
		{"a query that tests nothing", "checks.yml", "not_null: [hk_crane]", "sql: {name: x, query: SELECT 1}", "checks.yml:4: checks[0].tests[0].sql.query: does not have {table}"},
		{"a severity that is none", "checks.yml", "not_null: [hk_crane]", "not_null: {columns: [hk_crane], severity: fatal}", `checks.yml:4: checks[0].tests[0].not_null.severity: is "fatal"; want error or warn`},
		{"an enum without values", "checks.yml", "not_null: [hk_crane]", "enum: {column: x}", "checks.yml:4: checks[0].tests[0].enum.values: must be a list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"datasets/crane.yml": good, "vault/crane.yml": vault, "marts/mart_crane.yml": mart, "checks.yml": checks,
				"marts/mart_crane.sql": "SELECT hk_crane FROM vault_h_crane;"}
			if c.file != "" {
				files[c.file] = strings.Replace(files[c.file], c.from, c.to, 1)
			}
			layer := fstest.MapFS{}
			for file, text := range files {
				layer[file] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := Load(builtin, layer)
			var invalid *InvalidError
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestTheChecksOfTheEarlierDeliveryMeanWhatTheySay(t *testing.T) {
	text := `checks:
  - table: mart_fact_sales
    tests:
      - not_null: [date, hk_project]
      - positive: [amount_total]
  - table: mart_fact_cashflow
    tests:
      - not_null: [date]
      - enum: {column: status, values: [planned, actual]}
`
	checks, problems := ParseChecks("checks.yml", []byte(text))
	var names []string
	for _, c := range checks {
		names = append(names, c.Table+" "+c.Name())
	}
	want := []string{"mart_fact_sales not_null.date-hk_project", "mart_fact_sales positive.amount_total",
		"mart_fact_cashflow not_null.date", "mart_fact_cashflow enum.status"}
	if len(problems) > 0 || !slices.Equal(names, want) {
		t.Errorf("got %v, %v", names, problems)
	}
}

func TestAMartComesBehindThoseThatItReads(t *testing.T) {
	layer := fstest.MapFS{
		"marts/mart_a.yml": {Data: []byte("mart: mart_a\ngrain: [x]\nreads: [mart_b]\n")}, "marts/mart_a.sql": {Data: []byte("SELECT 1 AS x")},
		"marts/mart_b.yml": {Data: []byte("mart: mart_b\ngrain: [x]\nreads: [project]\n")}, "marts/mart_b.sql": {Data: []byte("SELECT 1 AS x")},
	}
	m, err := Load(builtin, layer)
	if err != nil {
		t.Fatal(err)
	}
	place := func(name string) int {
		return slices.IndexFunc(m.Marts(), func(m Mart) bool { return m.Name == name })
	}
	if place("mart_a") < place("mart_b") {
		t.Error("mart_a stands before mart_b")
	}
	if other, _ := Open(""); other.Version() == m.Version() {
		t.Error("other files have the same version")
	}
}
