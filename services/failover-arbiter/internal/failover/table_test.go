package failover

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rows are those of the table of detection and decision that the arbiter was asked for.
const rows = 19

// TestEachRowOfTheRequirementIsShown holds the list of docs/failover-safety.md: a row for each of the requirement's, with a transcript, and no transcript, test or drill in it that
// is not there. It reads the other modules' files and imports none of them.
func TestEachRowOfTheRequirementIsShown(t *testing.T) {
	const root = "../../../../"
	page, err := os.ReadFile(root + "docs/failover-safety.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "## The table of the requirement, row by row\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("docs/failover-safety.md has no list of the rows")
	}
	tests := sources(t, root+"services/failover-arbiter/*_test.go")
	drills := sources(t, root+"deploy/ofitec/drill*.go")
	var told []string
	next := 1
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) != 7 || strings.TrimSpace(cells[1]) != strconv.Itoa(next) {
			if len(cells) == 1 {
				told = append(told, quoted(line)...)
			}
			continue
		}
		next++
		transcripts := quoted(cells[3])
		if len(transcripts) == 0 {
			t.Errorf("row %s has no transcript", cells[1])
		}
		told = append(told, transcripts...)
		for _, name := range quoted(cells[4]) {
			if !strings.Contains(tests, "func "+name+"(t *testing.T)") {
				t.Errorf("row %s names %s, which is no test of the arbiter's", cells[1], name)
			}
		}
		for _, name := range quoted(cells[5]) {
			if name = strings.ReplaceAll(name, "\x00", "|"); !strings.Contains(drills, `"`+name) {
				t.Errorf("row %s names the drill %q, which nobody runs", cells[1], name)
			}
		}
	}
	if next != rows+1 {
		t.Errorf("the list has the rows up to %d, and the requirement %d", next-1, rows)
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".txt"); !slices.Contains(told, name) {
			t.Errorf("the page does not name the transcript %s", name)
		}
	}
	for _, name := range told {
		if transcript := regexp.MustCompile(`^[0-9]{2}[a-z]?-`); transcript.MatchString(name) && !slices.Contains(files, "testdata/"+name+".txt") {
			t.Errorf("the page names the transcript %s, which is not there", name)
		}
	}
}

// sources is what files say.
func sources(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file like %s: %v", pattern, err)
	}
	var all strings.Builder
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(content)
	}
	return all.String()
}

// quoted are the words in backticks.
func quoted(text string) (words []string) {
	for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		words = append(words, match[1])
	}
	return words
}
