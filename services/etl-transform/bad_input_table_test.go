package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of models/README.md names for each kind of bad input its rule, its line and its tests: those are there, and speak of that line.
func TestTheTableOfBadInputNamesTestsThatAreThere(t *testing.T) {
	content, err := os.ReadFile("../../models/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(content), "\n## Bad input\n")
	section, _, _ = strings.Cut(section, "\n## ")
	tests, sheets := sourcesOfTests(t)
	quoted := regexp.MustCompile("`([A-Za-z_0-9.]+)`")
	rows, told := 0, map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| what") {
			continue
		}
		rows++
		if len(cells) != 4 {
			t.Errorf("%q has %d cells, want what, rule, line and test", strings.TrimSpace(line), len(cells))
			continue
		}
		var bodies strings.Builder
		for _, name := range quoted.FindAllStringSubmatch(cells[3], -1) {
			body, there := tests[name[1]]
			if !there {
				t.Errorf("%s: there is no test %s", strings.TrimSpace(cells[0]), name[1])
			}
			bodies.WriteString(body)
			if strings.Contains(body, ".sheet\"") {
				bodies.WriteString(sheets)
			}
		}
		if bodies.Len() == 0 {
			t.Errorf("%s: no test is named", strings.TrimSpace(cells[0]))
		}
		for _, kind := range quoted.FindAllStringSubmatch(cells[2], -1) {
			told[kind[1]] = true
			if !strings.Contains(kind[1], "mart_") && !strings.Contains(bodies.String(), kind[1]) {
				t.Errorf("%s: its tests do not speak of %s", strings.TrimSpace(cells[0]), kind[1])
			}
		}
	}
	if rows < 10 {
		t.Fatalf("the table has %d rows", rows)
	}
	for _, kind := range []string{"without_project", "unknown_currency", "no_rate", "budget_of_zero", "no_estimate", "no_contract", "progress_over_100", "progress_below_0", "progress_went_back", "restated_late", "positive.amount_total"} {
		if !told[kind] {
			t.Errorf("the table does not tell of %s", kind)
		}
	}
}

// sourcesOfTests are this module's tests by name, and the sheets of the worked companies.
func sourcesOfTests(t *testing.T) (tests map[string]string, sheets string) {
	t.Helper()
	tests = map[string]string{}
	for _, pattern := range []string{"*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range strings.Split(string(content), "\nfunc ")[1:] {
				name, _, _ := strings.Cut(part, "(")
				tests[name] = part
			}
		}
	}
	files, err := filepath.Glob("internal/warehouse/testdata/*.sheet")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sheets += string(content)
	}
	return tests, sheets
}
