package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// memory is etcd in a map: every change of a key is kept with its revision. An arbiter is a function that is shown every request.
type memory struct {
	mu       sync.Mutex
	revision int64
	past     map[string][]version
	arbiter  func(m *memory, key string, request state.Request) // called after a request was written, in a goroutine of its own
	waiting  sync.WaitGroup
}

type version struct {
	value    []byte // nil: removed
	revision int64
}

func newMemory(t *testing.T, f state.Failover) *memory {
	t.Helper()
	m := &memory{past: map[string][]version{}}
	m.put(t, state.KeyFailover, f)
	t.Cleanup(m.waiting.Wait)
	return m
}

func (m *memory) put(t *testing.T, key string, doc state.Document) {
	t.Helper()
	value, err := state.Encode(doc)
	if err != nil {
		t.Error(err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.revision++
	m.past[key] = append(m.past[key], version{value, m.revision})
}

func (m *memory) Read(ctx context.Context, key string) ([]byte, int64, error) {
	return m.ReadBefore(ctx, key, 1<<62)
}

func (m *memory) ReadBefore(ctx context.Context, key string, before int64) ([]byte, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	versions := m.past[key]
	for n := len(versions) - 1; n >= 0; n-- {
		if v := versions[n]; v.revision < before {
			if v.value == nil {
				return nil, 0, nil
			}
			return v.value, v.revision, nil
		}
	}
	return nil, 0, nil
}

func (m *memory) Swap(ctx context.Context, key string, revision int64, value []byte) (bool, error) {
	_, now, err := m.Read(ctx, key)
	if err != nil || now != revision {
		return false, err
	}
	m.mu.Lock()
	m.revision++
	m.past[key] = append(m.past[key], version{value, m.revision})
	m.mu.Unlock()
	if value != nil && m.arbiter != nil && strings.HasPrefix(key, state.PrefixReq) {
		request, err := state.Decode[state.Request](value)
		if err != nil {
			return false, err
		}
		m.waiting.Go(func() { m.arbiter(m, key, request) })
	}
	return true, nil
}

var began = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func after(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }

func steadyState(active events.Region, epoch events.Epoch, at time.Time) state.Failover {
	return state.Failover{Phase: state.PhaseSteady, Active: active, Epoch: epoch, Since: at}
}

// moving is a switchover from a to b under epoch 2, with the steps that are done.
func moving(a events.Act, phases ...state.Phase) state.Failover {
	intent := &state.Intent{Epoch: 2, From: "a", To: "b", Cause: events.CauseSwitchover, DecidedAt: after(1), Deadline: after(20), MandateRevision: 7, Act: &a, Decision: "d"}
	f := state.Failover{Active: "a", Epoch: 1, Intent: intent}
	for n, phase := range phases {
		intent.Steps = append(intent.Steps, state.Step{Phase: phase, At: after(float64(n + 1)), Term: 5})
		f.Phase, f.Since = phase, after(float64(n+1))
	}
	if intent.Done(state.PhasePromoted) {
		f.Active, f.Epoch = "b", 2
	}
	return f
}

// answering answers each request at once.
func answering(t *testing.T, accepted bool, reason string, then func(m *memory, r state.Request)) func(*memory, string, state.Request) {
	return func(m *memory, key string, r state.Request) {
		r.Answer = &state.Answer{Accepted: accepted, Reason: reason, At: after(0.5)}
		m.put(t, key, r)
		if then != nil {
			then(m, r)
		}
	}
}

var (
	switchover = manual{verb: state.VerbSwitchover, moves: true}
	toB        = manualFlags{to: "b", reason: "a test", answerIn: 10 * time.Second, completeIn: 10 * time.Second}
)

func TestASwitchoverIsFollowedThroughEveryStepUntilItIsSteady(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	m.arbiter = answering(t, true, "the standby is there", func(m *memory, r state.Request) {
		// All at once: the follower sees the last revision only, and reads the others.
		m.put(t, state.KeyFailover, moving(r.Act, state.PhaseIntent))
		m.put(t, state.KeyFailover, moving(r.Act, state.PhaseIntent, state.PhaseFenced))
		m.put(t, state.KeyFailover, moving(r.Act, state.PhaseIntent, state.PhaseFenced, state.PhasePromoted))
		m.put(t, state.KeyFailover, moving(r.Act, state.PhaseIntent, state.PhaseFenced, state.PhasePromoted, state.PhaseSwitched))
		m.put(t, state.KeyFailover, steadyState("b", 2, after(5)))
	})
	var said strings.Builder
	result, err := switchover.carryOut(t.Context(), m, toB, &said)
	if err != nil {
		t.Fatal(err)
	}
	if result.Active != "b" || result.Epoch != 2 || result.Request.Epoch != 1 || result.Request.Act.Reason != "a test" {
		t.Errorf("got %+v", result)
	}
	var words []string
	for _, e := range result.Timeline {
		words = append(words, strings.Fields(e.What)[0])
	}
	// What the test's arbiter did lies before the request: its clock stands at noon.
	if got := strings.Join(words, " "); !strings.Contains(got, "decided: fenced: promoted: switched: completed") {
		t.Errorf("the timeline is %s", got)
	}
	if !strings.Contains(said.String(), "accepted: the standby is there") {
		t.Errorf("it said %s", said.String())
	}
}

func TestARefusalIsGivenWithItsReason(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	m.arbiter = answering(t, false, "the standby is 12 s behind", nil)
	if _, err := switchover.carryOut(t.Context(), m, toB, io.Discard); err == nil || !strings.Contains(err.Error(), "12 s behind") {
		t.Errorf("got %v", err)
	}
}

func TestARefusalForMissingObservationsIsAskedAgain(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	asked := 0
	m.arbiter = func(m *memory, key string, r state.Request) {
		if asked++; asked == 1 {
			answering(t, false, "gates-unknown: 0 of 3 observers say that the gates of region b are green", nil)(m, key, r)
			return
		}
		answering(t, true, "done", nil)(m, key, r)
	}
	patient := toB
	patient.dryRun, patient.retryFor = true, time.Minute
	result, err := switchover.carryOut(t.Context(), m, patient, io.Discard)
	if err != nil || !result.Request.Answer.Accepted || asked != 2 {
		t.Errorf("asked %d times, got %+v, %v", asked, result, err)
	}
}

func TestARequestThatNobodyAnswersIsTakenBack(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	hasty := toB
	hasty.answerIn = 50 * time.Millisecond
	result, err := switchover.carryOut(t.Context(), m, hasty, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "taken back") {
		t.Fatalf("got %v", err)
	}
	if value, _, _ := m.Read(t.Context(), state.RequestKey(result.Request.Act.Request)); value != nil {
		t.Error("the request is still there")
	}
}

// deaf writes a request and loses the answer to that.
type deaf struct{ *memory }

func (d deaf) Swap(ctx context.Context, key string, revision int64, value []byte) (bool, error) {
	done, err := d.memory.Swap(ctx, key, revision, value)
	if value != nil && err == nil {
		return false, errors.New("deadline exceeded")
	}
	return done, err
}

func TestARequestThatMayHaveBeenHandedInIsTakenBack(t *testing.T) {
	m := deaf{newMemory(t, steadyState("a", 1, began))}
	result, err := switchover.carryOut(t.Context(), m, toB, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded") || !strings.Contains(err.Error(), "taken back") {
		t.Fatalf("got %v", err)
	}
	if value, _, _ := m.Read(t.Context(), state.RequestKey(result.Request.Act.Request)); value != nil {
		t.Error("the request is still there, and a leader would carry it out")
	}
}

func TestAnAnswerThatComesWhileTheRequestIsTakenBackCounts(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	request := state.Request{Verb: state.VerbPause, Epoch: 1, Act: act("a test", began)}
	key := state.RequestKey(request.Act.Request)
	answered := request
	answered.Answer = &state.Answer{Accepted: true, Reason: "paused", At: after(1)}
	m.put(t, key, answered)
	got, err := withdraw(t.Context(), m, key, request, time.Second)
	if err != nil || got.Answer == nil || !got.Answer.Accepted {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAChangeThatEndsElsewhereHasFailed(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	m.arbiter = answering(t, true, "go", func(m *memory, r state.Request) {
		m.put(t, state.KeyFailover, moving(r.Act, state.PhaseIntent))
		m.put(t, state.KeyFailover, steadyState("a", 3, after(9)))
	})
	result, err := switchover.carryOut(t.Context(), m, toB, io.Discard)
	if !errors.Is(err, errOtherWay) || result.Active != "a" || result.Epoch != 3 {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestAChangeThatStandsStillSaysWhatHoldsIt(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	m.arbiter = answering(t, true, "go", func(m *memory, r state.Request) {
		f := moving(r.Act, state.PhaseIntent)
		f.Held = &state.Held{Rule: "lag", Since: after(2), Event: "e"}
		m.put(t, state.KeyFailover, f)
	})
	hasty := toB
	hasty.completeIn = 300 * time.Millisecond
	_, err := switchover.carryOut(t.Context(), m, hasty, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "phase intent") || !strings.Contains(err.Error(), "rule lag") {
		t.Errorf("got %v", err)
	}
}

func TestAPauseIsDoneWithItsAnswer(t *testing.T) {
	m := newMemory(t, steadyState("a", 1, began))
	m.arbiter = answering(t, true, "paused", nil)
	result, err := manual{verb: state.VerbPause}.carryOut(t.Context(), m, manualFlags{reason: "works on the network", answerIn: 10 * time.Second, pauseFor: time.Hour}, io.Discard)
	if err != nil || result.Request.Until == nil || result.Request.Until.Sub(result.Request.Act.At) != time.Hour || result.Request.To != "" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestManualActsNeedAReasonAndARegion(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"failover", "pause"}, "--reason is required"},
		{[]string{"failover", "override", "--to", "b"}, "--reason is required"},
		{[]string{"failover", "resume"}, "--reason is required"},
		{[]string{"failover", "acknowledge"}, "--reason is required"},
		{[]string{"failover", "switchover", "--to", "b", "--reason", ""}, "--reason"},
		{[]string{"failover", "switchover", "--reason", "x"}, "--to"},
		{[]string{"failover", "switchover", "--to", "c", "--reason", "x"}, "must be a or b"},
		{[]string{"failover", "pause", "--for", "-1m", "--reason", "x"}, "--for"},
		{[]string{"failover", "switchover", "b"}, `"b" is no argument: the region that takes the writes is given as --to b`},
		{[]string{"failover", "synchronous"}, "on or off is missing; it is used as: ofitec failover synchronous on|off"},
		{[]string{"failover", "pause", "b"}, "it is used as: ofitec failover pause"},
		{[]string{"failover", "explain"}, "it is used as: ofitec failover explain EPOCH"},
		{[]string{"credentials", "rotate"}, "it is used as: ofitec credentials rotate NAME"},
		{[]string{"failover", "frobnicate"}, "frobnicate"},
		{[]string{"failover", "history", "--since", "yesterday"}, "--since"},
	} {
		root := newRoot()
		root.SetArgs(c.args)
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		var wrong wrongUse
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v says %v", c.args, err)
		}
	}
}

func TestAPlannedActGoesWithoutAReasonOfItsOwn(t *testing.T) {
	for _, args := range [][]string{{"failover", "switchover", "--to", "b"}, {"credentials", "rotate", "odoo-app"}} {
		root := newRoot()
		root.SetArgs(append(args, "--data", filepath.Join(t.TempDir(), "none")))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "is not there") {
			t.Errorf("%v says %v; want it to look for the stack", args, err)
		}
		command, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		if reason, err := command.Flags().GetString("reason"); err != nil || reason != "asked for by hand" {
			t.Errorf("%v: the reason is %q, %v", args, reason, err)
		}
	}
}
