package transcript

import (
	"bytes"
	"testing"
)

func TestAStoryIsWhatHappensAndWhatComesOfIt(t *testing.T) {
	var out bytes.Buffer
	var heard []string
	for line := range happens("# why\n\nfirst\n  told before\nsecond\n", &out) {
		heard = append(heard, line)
		out.WriteString(line + "\n  " + line + " came\n")
	}
	if want := "# why\n\nfirst\n  first came\nsecond\n  second came\n"; out.String() != want || len(heard) != 2 {
		t.Errorf("played %q of %q, want %q", out.String(), heard, want)
	}
}
