package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
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

// streams are the pasts of streams, at seconds of a minute.
type streams map[string][]bus.Replayed

func (s streams) Replay(_ context.Context, wanted bus.Range, visit func(bus.Replayed) error) error {
	for _, r := range s[wanted.Stream] {
		if r.Stored.Before(wanted.From) || !wanted.To.IsZero() && !r.Stored.Before(wanted.To) {
			continue
		}
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}

func TestARecordingIsFedInTheOrderInWhichItWasStored(t *testing.T) {
	began := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(second int, epoch events.Epoch) bus.Replayed {
		return bus.Replayed{Stored: began.Add(time.Duration(second) * time.Second), Raw: []byte("{}"), Event: events.Event{Epoch: epoch}}
	}
	past := streams{
		events.StreamFacts:  {at(1, 2), at(12, 3), {Stored: began.Add(13 * time.Second), Err: errors.New("no event")}, at(25, 4)},
		events.StreamHealth: {at(5, 0), at(11, 0), {Stored: began.Add(12 * time.Second), Err: errors.New("no event")}, at(14, 0)},
	}
	seconds := func(text string) (list []int) {
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			var stored struct {
				Stored time.Time `json:"stored"`
			}
			if err := json.Unmarshal([]byte(line), &stored); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			list = append(list, int(stored.Stored.Sub(began).Seconds()))
		}
		return list
	}
	var out bytes.Buffer
	if err := feedInTime(t.Context(), past, began.Add(10*time.Second), began.Add(20*time.Second), &out); err != nil {
		t.Fatal(err)
	}
	if got := seconds(out.String()); len(got) != 4 || got[0] != 1 || got[1] != 11 || got[2] != 12 || got[3] != 14 {
		t.Errorf("fed the seconds %v, want 1 (who was active), 11, 12, 14", got)
	}
	out.Reset()
	err := feed(t.Context(), past, bus.Range{Stream: events.StreamFacts}, &out, func(r bus.Replayed) bool { return r.Event.Epoch == 3 })
	if got := seconds(out.String()); err != nil || len(got) != 1 || got[0] != 12 {
		t.Errorf("of epoch 3 came %v, %v", got, err)
	}
}
