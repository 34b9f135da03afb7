package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// rows are those of rotation.md's table.
const rows = 12

var (
	rowLine  = regexp.MustCompile(`^\| ([0-9]+) \| ([0-9, ]*) ?\| (.+) \|$`)
	quoted   = regexp.MustCompile("`([^`]+)`")
	testName = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

// testsBelow are the names of all tests below a folder.
func testsBelow(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	must(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, found := range testName.FindAllStringSubmatch(string(content), -1) {
			names[found[1]] = true
		}
		return err
	}))
	return names
}

func TestEachRowOfTheTableNamesTestsThatAreThere(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	must(t, err)
	places := map[string]map[string]bool{"": testsBelow(t, ".")}
	for _, place := range []string{"services/deployer", "deploy/ofitec"} {
		places[place] = testsBelow(t, "../../"+place)
	}
	seen := 0
	for line := range strings.Lines(string(readme)) {
		row := rowLine.FindStringSubmatch(strings.TrimSpace(line))
		if row == nil {
			continue
		}
		seen++
		for number := range strings.SplitSeq(strings.TrimSpace(row[2]), ",") {
			if number = strings.TrimSpace(number); number == "" {
				continue
			}
			if found, err := filepath.Glob("internal/rotation/testdata/" + number + "-*.txt"); err != nil || len(found) != 1 {
				t.Errorf("row %s: transcript %s: %v, %v", row[1], number, found, err)
			}
		}
		place, tests := "", 0
		for _, word := range quoted.FindAllStringSubmatch(row[3], -1) {
			switch {
			case places[word[1]] != nil:
				place = word[1]
			case !strings.HasPrefix(word[1], "Test"):
			case !places[place][word[1]]:
				t.Errorf("row %s: there is no test %s in %q", row[1], word[1], place)
			default:
				tests++
			}
		}
		if tests == 0 {
			t.Errorf("row %s names no test", row[1])
		}
	}
	if seen != rows {
		t.Errorf("the table has %d rows, want %d", seen, rows)
	}
}
