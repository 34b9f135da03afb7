package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

type shortVerdict struct {
	Text string `json:"text"`
}

func (v shortVerdict) print(w io.Writer) error {
	_, err := io.WriteString(w, "for people: "+v.Text)
	return err
}

func TestAVerdictIsPrintedForWhoAsksAndABadOneFails(t *testing.T) {
	for _, c := range []struct {
		inJSON, good bool
		want         string
	}{{false, true, "for people: x"}, {false, false, "for people: x"}, {true, true, `"text": "x"`}, {true, false, `"text": "x"`}} {
		var out bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetOut(&out)
		err := tellVerdict(cmd, c.inJSON, shortVerdict{"x"}, c.good)
		var bad *failed
		if errors.As(err, &bad) == c.good || !strings.Contains(out.String(), c.want) {
			t.Errorf("%+v: %q, %v", c, out.String(), err)
		}
	}
}
