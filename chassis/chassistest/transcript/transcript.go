// Package transcript plays the stories by which pure decisions are tested. A story is a text file: a line that begins in the first column is what
// happens, the indented lines below it are what comes of that, blank lines and those that begin with # are the teller's.
package transcript

import (
	"bytes"
	"flag"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew; read the difference before you commit it")

// Tell plays each story of testdata/*.txt as a subtest and fails when it goes another way than it is told. play gets what happens, line by line, and
// writes to out the line, where it belongs, and what comes of it. With -rewrite, the stories are written as they were played.
func Tell(t *testing.T, play func(t *testing.T, happens iter.Seq[string], out *bytes.Buffer)) {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			told, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var played bytes.Buffer
			play(t, happens(string(told), &played), &played)
			if *rewrite {
				if err := os.WriteFile(path, played.Bytes(), 0o644); err != nil { //nolint:gosec // a story is no secret
					t.Fatal(err)
				}
			} else if !bytes.Equal(told, played.Bytes()) {
				t.Errorf("the story goes another way now:\n%s", played.Bytes())
			}
		})
	}
}

// happens copies the teller's lines and gives the others.
func happens(told string, out *bytes.Buffer) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(told) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "  ") {
				continue
			}
			if line == "" || line[0] == '#' {
				out.WriteString(line + "\n")
			} else if !yield(line) {
				return
			}
		}
	}
}
