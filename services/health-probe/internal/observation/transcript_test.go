package observation

import (
	"bytes"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest/transcript"
	"github.com/ofitec/ofitec/events"
)

// TestTranscriptsStayAsTheyWereTold plays each story of testdata: a line that begins in the first column is a round, the indented lines below are
// what is told of it.
func TestTranscriptsStayAsTheyWereTold(t *testing.T) { transcript.Tell(t, play) }

func play(t *testing.T, happens iter.Seq[string], out *bytes.Buffer) {
	t.Helper()
	state := State{Observer: events.RegionC, Incarnation: "i1", Target: events.RegionA}
	at, number := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), int64(0)
	for line := range happens {
		out.WriteString(line + "\n")
		number++
		at = at.Add(500 * time.Millisecond)
		round := Round{Number: number, Deadline: 400 * time.Millisecond, Results: map[Kind]Result{}}
		for _, field := range strings.Fields(line) {
			name, text, _ := strings.Cut(field, "=")
			round.Results[Kind(name)] = result(t, Kind(name), text)
		}
		var seen Observed
		state, seen = Decide(state, round, at)
		if err := seen.Health.Validate(); err != nil {
			t.Errorf("%s: no event can be made of it: %v", line, err)
		}
		if seen.Replication != nil {
			if err := seen.Replication.Validate(); err != nil {
				t.Errorf("%s: no event can be made of it: %v", line, err)
			}
		}
		tell(out, seen)
	}
}

// result reads "ok", "failed" or "unknown", then, behind colons, what the kind learned: took, reads, primary or standby, a gate's part, an address.
func result(t *testing.T, kind Kind, text string) Result {
	t.Helper()
	words := strings.Split(text, ":")
	r := Result{Outcome: events.Outcome(words[0]), Took: 10 * time.Millisecond}
	if r.Outcome != events.OutcomeOK {
		r.Reason = "it is " + words[0]
	}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "/")
		number, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "took":
			r.Took = time.Duration(number * float64(time.Second))
		case "reads":
			r.Reads = true
		case "primary", "standby":
			r.Database = database(name == "standby", int64(number))
		case "address":
			r.Address = value
		case "healthy", "p95", "errors", "up", "lag":
			if r.Readings == nil {
				r.Readings = &Readings{}
			}
			*map[string]**float64{"healthy": &r.Readings.Healthy, "p95": &r.Readings.P95, "errors": &r.Readings.ErrorRate, "up": &r.Readings.OdooUp, "lag": &r.Readings.ReplicationLag}[name] = &number
		default:
			t.Fatalf("%s has no %q", kind, word)
		}
	}
	return r
}

func database(standby bool, heartbeat int64) *Database {
	lsn, streams, at := events.LSN(0x3000060), true, time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	d := &Database{InRecovery: standby, Streaming: &streams, Timeline: 1}
	if standby {
		d.ReceivedLSN, d.ReplayedLSN = &lsn, &lsn
	} else {
		d.FlushLSN = &lsn
	}
	if heartbeat > 0 {
		d.HeartbeatNumber, d.HeartbeatAt = &heartbeat, &at
	}
	return d
}

func tell(out *bytes.Buffer, seen Observed) {
	h := seen.Health
	fmt.Fprintf(out, "  %d %s failures=%d successes=%d", h.Number, h.Verdict, h.FailuresInRow, h.SuccessesInRow)
	if h.Resolved != "" {
		fmt.Fprintf(out, " resolved=%s", h.Resolved)
	}
	out.WriteString("\n")
	for _, c := range []struct {
		name   string
		result *events.CheckResult
	}{{"http", h.Checks.HTTP}, {"postgres", h.Checks.Postgres}, {"prometheus", h.Checks.Prometheus}, {"dns", h.Checks.DNS}} {
		if c.result != nil && c.result.Reason != "" && !strings.HasPrefix(c.result.Reason, "it is") {
			fmt.Fprintf(out, "    %s %s: %s\n", c.name, c.result.Outcome, c.result.Reason)
		}
	}
	if h.Gates != nil {
		fmt.Fprintf(out, "    gates %s %s\n", h.Gates.Healthy, h.Gates.Reason)
	}
	if r := seen.Replication; r != nil {
		role := "primary"
		if r.InRecovery {
			role = "standby"
		}
		fmt.Fprintf(out, "    replication %d: %s on timeline %d", r.Number, role, r.Timeline)
		if r.HeartbeatNumber != nil {
			fmt.Fprintf(out, ", heartbeat %d", *r.HeartbeatNumber)
		}
		out.WriteString("\n")
	}
}
