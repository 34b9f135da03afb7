package rollout

import (
	"bytes"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest/transcript"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// TestTranscriptsStayAsTheyWereTold plays each story of testdata: a line that begins in the first column is what happens, the indented lines below are what is
// announced, what is to be done, and where the rollout stands when that has changed. Every state must be one that can be stored, every event one that can be sent.
func TestTranscriptsStayAsTheyWereTold(t *testing.T) { transcript.Tell(t, play) }

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func policy() Policy {
	return Policy{
		Region: events.RegionA, StartWithin: time.Minute, Delay: 30 * time.Second, Interval: 30 * time.Second, Window: 2 * time.Minute, Steps: []int{100}, StepWindow: time.Minute, Failures: 2, Inconclusive: 3,
		DrainWithin: 30 * time.Second, Tries: 3, Limits: Limits{ErrorRate: 0.01, P95: 1200 * time.Millisecond},
	}
}

func (p *player) policy() Policy {
	with := policy()
	with.Steps, with.OneFile = p.steps, p.oneFile
	return with
}

type player struct {
	state   state.Deployment
	hot     state.Colour
	share   int // of the other colour
	open    int // requests on the other colour
	steps   []int
	anew    bool
	oneFile bool
	looked  time.Time
	last    []Action
	said    string
	out     *bytes.Buffer
}

func play(t *testing.T, happens iter.Seq[string], out *bytes.Buffer) {
	t.Helper()
	p := &player{out: out, hot: state.Blue, steps: []int{100}}
	for line := range happens {
		out.WriteString(line + "\n")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			t.Fatalf("want a time and what happens: %q", line)
		}
		words := map[string]string{}
		for _, field := range fields[2:] {
			name, value, _ := strings.Cut(field, "=")
			words[name] = strings.ReplaceAll(value, "_", " ")
		}
		at, err := time.ParseDuration(fields[0])
		if err != nil {
			t.Fatalf("want a time and what happens: %q", line)
		}
		p.happen(t, noon.Add(at), fields[1], words)
	}
}

func (p *player) happen(t *testing.T, now time.Time, verb string, words map[string]string) {
	t.Helper()
	n := p.state.Number
	if words["n"] != "" {
		n, _ = strconv.ParseInt(words["n"], 10, 64)
	}
	o := Observation{}
	switch verb {
	case "look":
	case "steps": // how this region rolls out from now on
		p.steps = nil
		for _, step := range strings.Split(words["percent"], ",") {
			percent, _ := strconv.Atoi(step)
			p.steps = append(p.steps, percent)
		}
	case "onefile": // both colours read it from now on
		p.oneFile = true
	case "proxy":
		p.hot = state.Colour(words["hot"])
		p.share, _ = strconv.Atoi(words["share"])
		p.open, _ = strconv.Atoi(words["open"])
	case "destroyed":
		p.hot, p.anew = state.Blue, true
	case "crash": // another process goes on from what is stored
		p.looked = time.Time{}
	case "rotated":
		o.Wish = &Wish{
			Credential: events.Credential{Name: "odoo-app", Kind: events.CredentialDatabase, Version: n, Path: "ofitec/credentials/odoo-app", Fingerprint: strings.Repeat("ab", 32)},
			Previous:   n - 1, Cause: fmt.Sprint("/ofitec/a/rotator#credential.rotated.odoo-app.", n), Correlation: "c",
		}
	case "rendered":
		o.Outcome = Rendered{n}
	case "refused":
		o.Outcome = Refused{n, words["step"], words["reason"]}
	case "started":
		o.Outcome = Started{n}
	case "answers":
		o.Outcome = Answered{Number: n, Alive: words["alive"] == "yes" || words["ready"] == "yes", Ready: words["ready"] == "yes", Standby: words["standby"] == "yes", Reason: words["reason"]}
	case "reads":
		p.looked = now
		o.Outcome = Read{n, reading(words)}
	case "switched":
		percent, anew := 100, false
		if words["percent"] != "" {
			percent, _ = strconv.Atoi(words["percent"])
			p.share, anew = percent, p.anew
		}
		if percent == 100 {
			p.hot, p.share = p.state.Colour, 0
		}
		p.anew = anew
		o.Outcome = Switched{n, percent}
	case "drained":
		if drain, ok := p.last[0].(Drain); ok {
			p.hot, p.share = drain.Hot, 0
		}
		p.open, _ = strconv.Atoi(words["open"])
		o.Outcome = Drained{n, p.open}
	case "settled":
		o.Outcome = Settled{n}
	case "fails":
		count, _ := strconv.Atoi(words["count"])
		if len(p.last) == 0 {
			t.Fatal("nothing can fail: nothing was to be done")
		}
		o.Outcome = Failed{p.last[0], count, words["reason"]}
	default:
		t.Fatalf("nothing like this happens: %s", verb)
	}
	o.Forgotten, o.Taken = p.anew, words["taken"] == "yes"
	if words["levelled"] != "" {
		ago, err := time.ParseDuration(words["levelled"])
		if err != nil {
			t.Fatalf("want how long ago both colours were level: %q", words["levelled"])
		}
		o.Levelled = now.Add(-ago)
	}
	o.Traffic, o.Looked = Traffic{p.hot, p.share, p.open}, p.looked
	before := p.state
	kept := fmt.Sprintf("%+v", before)
	next, with, then := Decide(p.state, o, p.policy(), now)
	if fmt.Sprintf("%+v", before) != kept {
		t.Fatalf("%s: the given state was changed", verb)
	}
	if next.Number > 0 {
		data, err := state.Encode(next)
		if err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
		if next, err = state.Decode[state.Deployment](data); err != nil {
			t.Fatalf("%s: %v", verb, err)
		}
	}
	p.state, p.last = next, then
	p.say(t, with, then)
}

func reading(words map[string]string) Reading {
	good, quick, slow := 0.0, 0.1, 3.0
	up := true
	s := Sight{Role: Active, Canary: Figures{Up: &up, ErrorRate: &good, P95: &quick}, Control: Figures{Up: &up, ErrorRate: &good, P95: &quick}, Probed: Probes{Sent: 6, Slowest: time.Millisecond}}
	switch words["canary"] {
	case "slow":
		s.Canary.P95 = &slow
	case "failing":
		s.Probed.Failed, s.Probed.Problem = 3, "GET /web/health answers 503"
	case "silent":
		s.Canary = Figures{Problem: words["problem"]}
	}
	if words["control"] == "slow" {
		s.Control.P95 = &slow
	}
	if words["role"] != "" {
		s.Role, s.RoleProblem = Role(strings.TrimSuffix(words["role"], "none")), "mandate answers 503 and standby 503"
	}
	return Judge(s, policy().Limits)
}

func (p *player) say(t *testing.T, with, then []Action) {
	t.Helper()
	for _, action := range with {
		switch a := action.(type) {
		case Heard:
			p.out.WriteString("  heard\n")
		case Announce:
			if err := a.Payload.Validate(); err != nil {
				t.Fatal(err)
			}
			p.out.WriteString("  SAY " + events.ID(a.Payload) + " at " + a.At.Sub(noon).String() + detail(a.Payload) + "\n")
		}
	}
	for _, action := range then {
		fmt.Fprintf(p.out, "  %s %+v\n", strings.ToLower(reflect.TypeOf(action).Name()), action)
	}
	s := p.state
	line := "none"
	if s.Number > 0 {
		line = fmt.Sprintf("%d %s, hot %s, canary %s", s.Number, s.Phase, s.Hot, s.Colour)
		if s.Weight > 0 && s.Phase == state.DeploymentWatching {
			line += fmt.Sprintf(" with %d %%", s.Weight)
		}
		if s.Readings != nil {
			line += fmt.Sprintf(", readings %d/%d/%d", s.Readings.Green, s.Readings.Red, s.Readings.Inconclusive)
		}
		if s.Settled {
			line += ", settled"
		}
		if s.Reason != "" {
			line += ", " + s.Reason
		}
	}
	if line != p.said {
		p.said = line
		p.out.WriteString("  state " + line + "\n")
	}
}

func detail(payload events.Payload) string {
	switch e := payload.(type) {
	case events.CredentialDeployed:
		return fmt.Sprintf(": on %s after %d, standby %v, readings %d/%d/%d", e.Colour, e.Previous, e.Standby, e.Readings.Green, e.Readings.Red, e.Readings.Inconclusive)
	case events.CredentialRolledBack:
		return fmt.Sprintf(": %s: %s; %d kept", e.Step, e.Reason, e.Kept)
	}
	return ""
}
