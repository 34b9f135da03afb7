package board_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/console/internal/board"
	"github.com/ofitec/ofitec/services/console/internal/board/boardtest"
)

var update = flag.Bool("update", false, "write the transcripts anew; look at the difference")

var at = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// told writes what the page would show, a line a fact that a reader of the transcript looks for.
func told(b *board.Board, now time.Time) string {
	v := board.Decide(b, now)
	var text strings.Builder
	w := v.Writer
	since := "?"
	if w.Since != nil {
		since = w.Since.Format("15:04:05")
	}
	fmt.Fprintf(&text, "  writer %q epoch %d %s, mandate %s, since %s, known %v", w.Region, w.Epoch, w.Phase, w.Mandate, since, w.Known)
	if w.To != "" {
		fmt.Fprintf(&text, ", to %s because %s", w.To, w.Cause)
	}
	text.WriteString("\n")
	for _, r := range v.Regions {
		fmt.Fprintf(&text, "  %s %s, %s, lag %s, seen by", r.Region, r.Role, r.Health, number(r.Lag))
		for _, o := range r.Observers {
			fmt.Fprintf(&text, " %s:%s", o.Region, o.Sees)
		}
		if r.Reason != "" {
			fmt.Fprintf(&text, " (%s)", r.Reason)
		}
		text.WriteString("\n")
	}
	if f := v.Failover; f != nil {
		fmt.Fprintf(&text, "  failover %d %s->%s %s, total %s:", f.Epoch, f.From, f.To, f.State, number(f.Total))
		for _, s := range f.Segments {
			fmt.Fprintf(&text, " %s@%.1f=%s", s.Name, s.Start, number(s.Seconds))
		}
		text.WriteString("\n")
	}
	for _, s := range v.Sources {
		if !s.OK {
			fmt.Fprintf(&text, "  %s does not answer since %s: %s\n", s.Name, s.Since.Format("15:04:05"), s.Reason)
		}
	}
	return text.String()
}

func number(n *float64) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprintf("%.1f", *n)
}

// story is a transcript that is written while the board hears it.
type story struct {
	board    board.Board
	now      time.Time
	sequence uint64
	text     strings.Builder
}

func (s *story) say(line string, inputs ...board.Input) {
	for _, input := range inputs {
		s.board.Apply(input, s.now)
	}
	fmt.Fprintf(&s.text, "%s %s\n%s\n", s.now.Format("15:04:05.0"), line, told(&s.board, s.now))
}

func (s *story) fact(payload events.Payload) board.Fact {
	s.sequence++
	return boardtest.Fact(s.sequence, "c", "failover-arbiter", s.now, payload)
}

func (s *story) pass(d time.Duration) { s.now = s.now.Add(d) }

func (s *story) compare(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(s.text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != s.text.String() {
		t.Errorf("the transcript differs from %s (go test -update writes it anew):\n%s", path, s.text.String())
	}
}

func hear(b *board.Board, now time.Time, inputs ...board.Input) {
	for _, input := range inputs {
		b.Apply(input, now)
	}
}

func seen(observer, target events.Region, verdict events.Outcome) board.Seen {
	h := events.HealthObserved{Observer: observer, Target: target, Verdict: verdict, Checks: events.Checks{HTTP: &events.CheckResult{Outcome: verdict, Reason: "connection refused"}}}
	if verdict == events.OutcomeOK {
		lag := 0.24
		h.Gates = &events.Gates{ReplicationLag: &lag}
	}
	return board.Seen{Health: h}
}

func all(target events.Region, verdict events.Outcome, observers ...events.Region) []board.Input {
	var inputs []board.Input
	for _, observer := range observers {
		inputs = append(inputs, seen(observer, target, verdict))
	}
	return inputs
}

func steady(epoch events.Epoch, active events.Region, revision int64) board.Documents {
	return board.Documents{
		Failover: &state.Failover{Epoch: epoch, Active: active, Phase: state.PhaseSteady, Since: at.Add(-time.Hour)},
		Mandate:  &state.Mandate{Owner: active, Epoch: epoch}, MandateRevision: revision, Config: &state.Config{Mandate: 5, Delta: 0.5},
	}
}

func TestARegionIsLostAndTheOtherTakesOver(t *testing.T) {
	s := &story{now: at}
	s.say("nothing is known yet")
	s.say("etcd answers", steady(1, "a", 10))
	up := append(all("a", events.OutcomeOK, "a", "b", "c"), all("b", events.OutcomeOK, "a", "b", "c")...)
	s.say("the arbiters and the probes answer", append(up, board.Answer{Region: "a", Reached: true, Mandate: true}, board.Answer{Region: "b", Reached: true, Standby: true}, board.Answer{Region: "c", Reached: true})...)
	s.pass(2 * time.Second)
	lost := append(all("a", events.OutcomeFailed, "b", "c"), all("b", events.OutcomeOK, "b", "c")...)
	lost = append(lost, board.Answer{Region: "a", Reason: "connection refused"}, board.Answer{Region: "b", Reached: true, Standby: true}, board.Answer{Region: "c", Reached: true})
	s.say("region a is lost", append(lost, steady(1, "a", 10))...)
	f := events.Failover{Epoch: 2, From: "a", To: "b", Cause: events.CauseDown}
	loss := events.LossBound{}
	intent := steady(1, "a", 10)
	intent.Failover.Phase = state.PhaseIntent
	intent.Failover.Intent = &state.Intent{Epoch: 2, From: "a", To: "b", Cause: events.CauseDown}
	s.say("an intent is recorded", intent, s.fact(events.FailoverStarted{Failover: f, DecidedAt: s.now, Rule: "majority-down", Leader: "c", Term: 1, Loss: loss,
		Evidence: []events.Evidence{{Observer: "c", Incarnation: "c-1", Number: 1, Replication: &events.ReplicationObserved{Observer: "c", Incarnation: "c-1", Number: 1, Target: "b", ObservedAt: s.now, InRecovery: true, Timeline: 1}}}}))
	s.pass(5500 * time.Millisecond)
	hear(&s.board, s.now, lost...)
	s.say("its mandate has ended by everyone's clock", s.fact(events.FailoverFenced{Failover: f, FencedAt: s.now, Manner: "expired", Loss: loss, Waited: 5.5}))
	s.pass(time.Second)
	hear(&s.board, s.now, lost...)
	promoted := steady(2, "b", 20)
	promoted.Failover.Phase = state.PhasePromoted
	promoted.Failover.Intent = &state.Intent{Epoch: 2, From: "a", To: "b", Cause: events.CauseDown}
	s.say("b is promoted", promoted, s.fact(events.FailoverPromoted{Failover: f, PromotedAt: s.now, Timeline: 2, LSN: 1}), board.Answer{Region: "b", Reached: true, Mandate: true})
	s.pass(500 * time.Millisecond)
	s.say("DNS answers b", s.fact(events.FailoverSwitched{Failover: f, SwitchedAt: s.now, Name: "erp.ofitec.test", Address: "127.0.0.12", TTLSeconds: 1, Provider: "rfc2136"}))
	stale := 1.0
	done := s.fact(events.FailoverCompleted{Failover: f, CompletedAt: s.now, Loss: loss, Times: events.RecoveryTimes{Detect: 1.5, Decide: 0.3, Fence: 5.5, Promote: 1, Switch: 0.5, LastStaleClient: &stale, Total: 8.8}})
	s.say("the failover is completed, with the times as they were measured", steady(2, "b", 21), done)
	s.say("the same fact again changes nothing", done)
	s.compare(t, "01-a-region-is-lost")
}

func TestWhatIsSilentIsUnknown(t *testing.T) {
	s := &story{now: at}
	s.say("all is well", append(append(all("a", events.OutcomeOK, "a", "b", "c"), all("b", events.OutcomeOK, "a", "b", "c")...),
		steady(1, "a", 10), board.Answer{Region: "a", Reached: true, Mandate: true}, board.Answer{Region: "b", Reached: true, Standby: true}, board.Answers{Name: "etcd"})...)
	s.pass(4 * time.Second)
	s.say("the mandate is renewed", steady(1, "a", 11))
	s.pass(8 * time.Second)
	s.say("the mandate is not renewed, and nobody says anything", steady(1, "a", 11))
	s.pass(7 * time.Second)
	s.say("etcd is away too", board.Answers{Name: "etcd", Reason: "no answer within 2 s"})
	s.pass(time.Second)
	s.say("and still", board.Answers{Name: "etcd", Reason: "no answer within 2 s"})
	s.compare(t, "02-silence-is-unknown")
}

func TestAnAbortedFailoverSaysWhyAndTheWritesStay(t *testing.T) {
	s := &story{now: at}
	f := events.Failover{Epoch: 2, From: "a", To: "b", Cause: events.CauseSwitchover}
	act := &events.Act{Actor: "maria", Reason: "maintenance", Request: "r-1", At: s.now}
	s.say("a switchover begins", steady(1, "a", 10), s.fact(events.FailoverStarted{Failover: f, DecidedAt: s.now, Rule: "manual", Leader: "b", Term: 1, Act: act}))
	s.pass(3 * time.Second)
	s.say("the target does not promote", s.fact(events.FailoverAborted{Failover: f, AbortedAt: s.now, Phase: "intent", Code: "deadline", Reason: "region b did not promote in time"}))
	s.say("a step that comes late changes nothing", s.fact(events.FailoverSwitched{Failover: f, SwitchedAt: s.now.Add(time.Hour), Name: "erp.ofitec.test", Address: "127.0.0.12", TTLSeconds: 1, Provider: "rfc2136"}))
	s.compare(t, "03-an-aborted-switchover")
}

func TestTheViewIsTheSameUntilSomethingHappens(t *testing.T) {
	b := &board.Board{}
	for _, input := range boardtest.Day(at) {
		b.Apply(input, at)
	}
	first, err := json.Marshal(board.Decide(b, at))
	if err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(board.Decide(b, at.Add(2*time.Second)))
	if string(first) != string(again) {
		t.Errorf("two seconds later it is another view: the page would be sent it again\n%s\n%s", first, again)
	}
}

func TestABusyDomainDoesNotPushTheOthersOut(t *testing.T) {
	b := &board.Board{}
	b.Apply(boardtest.Fact(1, "c", "failover-arbiter", at, events.FailoverAcknowledged{ManualFailover: events.ManualFailover{Epoch: 1, Active: "a", Act: events.Act{Actor: "maria", Reason: "seen", Request: "r", At: at}}, Failover: 1}), at)
	for n := range 500 {
		b.Apply(boardtest.Fact(uint64(n+2), "a", "etl-ingest", at, events.ExportFailed{Dataset: "invoice", Region: "a", Batch: fmt.Sprint("b", n), FailedAt: at, Attempts: 1, Code: "timeout", Reason: "no answer", RetryTime: at}), at)
	}
	list := board.Decide(b, at).Events
	if len(list) > 100 || list[len(list)-1].Type != "failover.acknowledged" {
		t.Errorf("%d events, the last is %s", len(list), list[len(list)-1].Type)
	}
	if _, found := b.Detail(1); !found {
		t.Error("the detail of the failover's event is gone")
	}
	if _, found := b.Detail(2); found {
		t.Error("the board keeps all events for ever")
	}
}

func TestADatasetThatFailsSaysSoUntilItsNextExport(t *testing.T) {
	b := &board.Board{}
	failed := events.ExportFailed{Dataset: "invoice", Region: "a", Batch: "b1", FailedAt: at, Attempts: 2, Code: "truncated", Reason: "half a body", RetryTime: at.Add(time.Minute)}
	b.Apply(boardtest.Fact(1, "a", "etl-ingest", at, failed), at)
	if d := board.Decide(b, at).Warehouse.Datasets; len(d) != 1 || d[0].Failure == nil || d[0].Failure.Code != "truncated" {
		t.Fatalf("datasets %+v", d)
	}
	ready := events.ExportReady{Dataset: "invoice", Region: "a", Batch: "b2", RawURL: "s3://raw/x", Format: "csv", Kind: "rows", SHA256: strings.Repeat("a", 64), Rows: 7, Sequence: 1, AsOf: events.AsOf{Epoch: 1, SourceClock: at.Add(time.Minute)}}
	b.Apply(boardtest.Fact(2, "a", "etl-ingest", at, ready), at)
	d := board.Decide(b, at).Warehouse.Datasets[0]
	if d.Failure != nil || *d.Last != 7 || !d.AsOf.Equal(at.Add(time.Minute)) || d.Rows != nil {
		t.Errorf("after the export %+v", d)
	}
}

func TestOfACredentialThoseThatLiveAreShownAndTheLastThatEnded(t *testing.T) {
	b := &board.Board{}
	var versions []state.CredentialVersion
	for n, stage := range []state.Stage{state.StageRevoked, state.StageRolledBack, state.StageRevoked, state.StageCurrent, state.StageCanary} {
		versions = append(versions, state.CredentialVersion{Number: int64(n + 1), Stage: stage, MintedAt: at})
	}
	b.Apply(board.Documents{Credentials: []state.Credential{{Name: "odoo-app", Versions: versions}}}, at)
	var shown []string
	for _, v := range board.Decide(b, at).Credentials[0].Versions {
		shown = append(shown, fmt.Sprint(v.Number, v.Stage))
	}
	if got := strings.Join(shown, " "); got != "5canary 4current 3revoked" {
		t.Errorf("shown %s", got)
	}
}

func TestAMonthThatIsNotOverIsMarked(t *testing.T) {
	b := &board.Board{}
	b.Apply(board.Months{Money: board.Money{State: "ok", Months: []board.Month{{End: "2026-10-31"}, {End: "2026-11-30"}}}}, at)
	for now, want := range map[time.Time]string{
		at:                                      "false true",
		at.AddDate(0, 0, 6).Add(13 * time.Hour): "false true", // 1 December 01:00 UTC is still November in Santiago
		at.AddDate(0, 0, 8):                     "false false",
	} {
		months := board.Decide(b, now).Money.Months
		if got := fmt.Sprint(months[0].Open, " ", months[1].Open); got != want {
			t.Errorf("at %s open months %s, want %s", now, got, want)
		}
	}
}
