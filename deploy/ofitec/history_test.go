package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

func TestTheHistorySaysWhatIsBoundedAndWhatIsExposed(t *testing.T) {
	at := time.Date(2026, 11, 25, 3, 0, 0, 0, time.UTC)
	bound := func(seconds float64, bytes int64, exposed float64) events.LossBound {
		return events.LossBound{Seconds: &seconds, Bytes: &bytes, Exposed: &exposed}
	}
	old := bound(0.3, 200, 0)
	old.Exposed = nil // of an arbiter from before it was said
	for _, c := range []struct {
		name string
		loss events.LossBound
		want string
	}{
		{"cut off: the rest of its mandate may have been used", bound(0.3, 200, 5.8), "at most 0.3 s, 200 bytes (5.8 s exposed)"},
		{"a receipt that the standby has reached: nothing is", bound(0, 0, 0), "at most 0.0 s, 0 bytes  "},
		{"from before it was said", old, "at most 0.3 s, 200 bytes  "},
		{"unknown is not zero", events.LossBound{}, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var past history
			name := events.Failover{Epoch: 2, From: events.RegionA, To: events.RegionB, Cause: events.CauseDown}
			past.step(events.FailoverStarted{Failover: name, DecidedAt: at, Rule: "observer-majority", Loss: bound(9, 9, 9)})
			past.step(events.FailoverFenced{Failover: name, FencedAt: at, Manner: "expired", Loss: c.loss})
			held := other(events.Event{Time: at}, events.FailoverHeld{Rule: "lag", Reason: "too much", Loss: c.loss})
			var out bytes.Buffer
			if err := past.print(&out); err != nil || !strings.Contains(out.String(), c.want) {
				t.Errorf("%v, want %q in\n%s", err, c.want, out.String())
			}
			if want := "held back by rule lag: too much; loss " + strings.TrimSpace(c.want); held.Text != want {
				t.Errorf("%q, want %q", held.Text, want)
			}
		})
	}
}
