package main

import (
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

func TestAnAnalysisIsFedAndItsEndIsTold(t *testing.T) {
	for _, c := range []struct {
		name, script, want string
		wrong              bool
	}{
		{name: "it reads everything", script: `grep -c event`},
		{name: "it refuses its arguments", script: `echo 'failover-arbiter: replay: -set "x": must be one of cooldown' >&2; exit 2`, want: "must be one of cooldown", wrong: true},
		{name: "it fails with a log line", script: `echo '{"level":"ERROR","msg":"service failed","error":"line 3 of the recording: no event"}' >&2; exit 1`, want: "line 3 of the recording: no event"},
		{name: "it dies without a word", script: `exit 1`, want: "exit status 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, complaints bytes.Buffer
			program := exec.Command("/bin/sh", "-c", c.script)
			program.Stdout, program.Stderr = &out, &complaints
			err := feedTo(program, &complaints, func(w io.Writer) error {
				for range 100_000 { // more than a pipe holds: a program that is gone must not keep us
					if _, err := io.WriteString(w, "event\n"); err != nil {
						return err
					}
				}
				return nil
			})
			var wrong wrongUse
			if c.want == "" {
				if err != nil || strings.TrimSpace(out.String()) != "100000" {
					t.Errorf("%q, %v", out.String(), err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &wrong) != c.wrong {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestExplainAndReplayRefuseWhatTheyCannotDo(t *testing.T) {
	for _, line := range []string{"failover explain", "failover explain x", "failover explain 0", "failover explain 1 2", "failover replay now", "failover replay --since yesterday", "failover explain 1 -o yaml"} {
		if status := run(t.Context(), strings.Fields(line)); status != exitUsage {
			t.Errorf("ofitec %s exits with %d, want %d", line, status, exitUsage)
		}
	}
}
