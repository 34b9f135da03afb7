package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

var recordedAt = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// line is an event as it stands in a recording.
func line(t *testing.T, origin events.Origin, at time.Time, p events.Payload) string {
	t.Helper()
	event, err := events.New(origin, at, p)
	must(t, err)
	data, err := event.Encode()
	must(t, err)
	return string(data) + "\n"
}

func observed(observer, target events.Region, number int64, at time.Time, failures int) events.HealthObserved {
	zero, up := 0.0, true
	h := events.HealthObserved{
		Observer: observer, Incarnation: "i1", Number: number, Target: target, ObservedAt: at, Verdict: events.OutcomeOK, SuccessesInRow: 1,
		Checks: events.Checks{HTTP: &events.CheckResult{Outcome: events.OutcomeOK}},
		Gates:  &events.Gates{Healthy: events.OutcomeOK, P95Seconds: &zero, ErrorRate: &zero, OdooUp: &up, ReplicationLag: &zero},
	}
	if failures > 0 {
		h.Verdict, h.SuccessesInRow, h.FailuresInRow = events.OutcomeFailed, 0, failures
		h.Checks.HTTP = &events.CheckResult{Outcome: events.OutcomeFailed, Reason: "no answer"}
		h.Gates = &events.Gates{Healthy: events.OutcomeUnknown, Reason: "no answer"}
	}
	return h
}

// decided is a failover.started that the arbiter of c decides: a is down to everybody.
func decided(t *testing.T) string {
	t.Helper()
	config := NewConfig()
	config.Region = "c"
	settings := config.judging(timing.Local())
	now := failover.Instant{Boot: time.Hour, Wall: recordedAt}
	s, _ := failover.Decide(failover.New(settings), failover.Led{Term: 7}, now)
	for _, observer := range events.Regions {
		s, _ = failover.Decide(s, failover.Heard{Report: observed(observer, "a", 9, now.Wall, 3)}, now)
		s, _ = failover.Decide(s, failover.Heard{Report: observed(observer, "b", 9, now.Wall, 0)}, now)
	}
	shared := settings.Shared
	_, actions := failover.Decide(s, failover.Read{
		Failover: &state.Failover{Epoch: 1, Active: "a", Phase: state.PhaseSteady, Since: now.Wall}, FailoverRevision: 3, Config: &shared, Active: "A",
		Mandate: &state.Mandate{Owner: "a", Epoch: 1, Incarnation: "f.p", Renewal: 5, RenewedAt: now.Wall, FlushLSN: 4096, Timeline: 1}, MandateRevision: 4,
		Reports: map[events.Region]failover.Reported{"b": {Revision: 5, Report: state.Report{
			Region: "b", Incarnation: "f.p", Number: 1, At: now.Wall, Database: state.DatabaseReport{Condition: state.DatabaseStandby, Timeline: 1, FlushLSN: 4000, HeartbeatAt: &now.Wall},
		}}},
	}, now)
	if len(actions) != 1 {
		t.Fatalf("decided %+v", actions)
	}
	return line(t, events.Origin{Region: "c", Service: events.ServiceArbiter}, now.Wall, actions[0].(failover.Swap).Announce[0].Payload)
}

func TestExplainSaysWhoSaidWhatAndDecidesTheSameAgain(t *testing.T) {
	recording := decided(t)
	var out bytes.Buffer
	must(t, explain([]string{"2"}, strings.NewReader(recording), &out))
	for _, want := range []string{
		"failover.started.v1, epoch 2, by the arbiter of region c under term 7", "a failover from a to b, because of down", "rule      observer-majority", "3 failures in a row by 2 observers heard within 1.5 s",
		"0.0 s and 96 bytes at most", "b         a    9       12:00:00.000  0.000 s  failed   3         unknown", "again     the same decision from the record",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	out.Reset()
	must(t, explain([]string{"-o", "json"}, strings.NewReader(`{"stored":"2026-01-01T12:00:01Z","message":`+strings.TrimSpace(recording)+"}\n"), &out))
	var list []explanation
	must(t, json.Unmarshal(out.Bytes(), &list))
	if len(list) != 1 || list[0].Again != "same" || list[0].Bytes < 2000 || len(list[0].Observers) != 6 || list[0].Limits.Failures != 3 || !list[0].Seen.Regions["a"].Down {
		t.Errorf("%+v", list)
	}
}

func TestExplainSaysWhenARecordDoesNotGiveTheDecision(t *testing.T) {
	forged := strings.Replace(decided(t), `"Failures":3`, `"Failures":30`, 1)
	var out bytes.Buffer
	if err := explain(nil, strings.NewReader(forged), &out); !errors.Is(err, errDiffers) || !strings.Contains(out.String(), "ANOTHER DECISION from the record: nothing") {
		t.Errorf("%v\n%s", err, out.String())
	}
	before := strings.Index(forged, `,"basis":`)
	var event map[string]any
	must(t, json.Unmarshal([]byte(forged), &event))
	delete(event["data"].(map[string]any), "basis")
	old, err := json.Marshal(event)
	must(t, err)
	out.Reset()
	if err := explain(nil, bytes.NewReader(old), &out); before < 0 || err != nil || !strings.Contains(out.String(), "not recorded") {
		t.Errorf("of an event without a record: %v\n%s", err, out.String())
	}
}

func TestReplaySaysWhatOtherThresholdsWouldHaveDone(t *testing.T) {
	var recording strings.Builder
	rows := 0
	for half := range 240 {
		at := recordedAt.Add(time.Duration(half) * 500 * time.Millisecond)
		if half >= 100 && half < 105 || half >= 160 && half < 200 { // 2.5 s, and 20 s
			rows++
		} else {
			rows = 0
		}
		for _, observer := range events.Regions {
			probe := events.Origin{Region: observer, Service: events.ServiceProbe}
			recording.WriteString(line(t, probe, at, observed(observer, "a", int64(half+1), at, rows)))
			recording.WriteString(line(t, probe, at, observed(observer, "b", int64(half+1), at, 0)))
		}
		flush := events.LSN(4096)
		number := int64(half + 1)
		p := events.ReplicationObserved{Observer: "b", Incarnation: "i1", Number: number, Target: "b", ObservedAt: at, InRecovery: true, Timeline: 1, ReceivedLSN: &flush, HeartbeatNumber: &number, HeartbeatAt: &at}
		recording.WriteString(line(t, events.Origin{Region: "b", Service: events.ServiceProbe}, at, p))
		p.Observer, p.Target, p.InRecovery, p.FlushLSN, p.ReceivedLSN = "a", "a", false, &flush, nil
		if rows == 0 {
			recording.WriteString(line(t, events.Origin{Region: "a", Service: events.ServiceProbe}, at, p))
		}
	}
	var out bytes.Buffer
	must(t, replay([]string{"-o", "json", "-set", "failures=8", "-set", "cooldown=30s"}, strings.NewReader(recording.String()), &out))
	var c comparison
	must(t, json.Unmarshal(out.Bytes(), &c))
	if len(c.As.Failovers) != 1 || c.As.Nothing() != 1 || len(c.Instead.Failovers) != 1 || c.Instead.Nothing() != 0 {
		t.Errorf("as configured %+v\ninstead %+v", c.As, c.Instead)
	}
	if missed, outages := c.As.Missed(); missed != 1 || outages != 1 { // the hiccup's cooldown holds the outage's failover back
		t.Errorf("as configured %d of %d outages are missed", missed, outages)
	}
	out.Reset()
	must(t, replay([]string{"-set", "failures=20"}, strings.NewReader(recording.String()), &out))
	for _, want := range []string{"for nothing", "region a away for 20.0 s and no failover: held by cooldown", "an arbiter would not start so: timing rule R6"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestAnAnalysisThatIsAskedWronglySaysWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"explain x", "want one epoch, a number from 1"}, {"explain 0", "want one epoch"}, {"explain 1 2", "want one epoch"}, {"explain -o yaml", "must be text or json"},
		{"replay -set speed=1", "must be one of cooldown, failures, gates-red-for, max-loss, window"}, {"replay -set failures=0", "must be 1 to 1000"},
		{"replay -set window=x", "must be a duration above 0"}, {"replay -active c", "must be a or b"}, {"replay -timing lunar", "must be local or wan"}, {"replay now", `unknown argument "now"`},
		{"replay -outage -1s", "must be 0 or more"},
	} {
		words := strings.Fields(c.args)
		err := analyses[words[0]](words[1:], strings.NewReader(""), &bytes.Buffer{})
		if usage, is := errors.AsType[*chassis.UsageError](err); !is || !strings.Contains(usage.Reason, c.want) {
			t.Errorf("%s: %v, want %q", c.args, err, c.want)
		}
	}
	for _, recording := range []string{"no event\n", `{"stored":"2026-01-01T12:00:01Z","message":{"id":"x"}}` + "\n"} {
		if err := replay(nil, strings.NewReader(recording), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "line 1 of the recording") {
			t.Errorf("%q gives %v", recording, err)
		}
	}
}
