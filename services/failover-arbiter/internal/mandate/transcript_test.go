package mandate

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
	"github.com/ofitec/ofitec/events/state"
)

// TestTranscriptsStayAsTheyWereTold plays each story of testdata: a line that begins in the first column is what happens, the indented lines below are what
// the arbiter makes of it.
func TestTranscriptsStayAsTheyWereTold(t *testing.T) { transcript.Tell(t, play) }

// player is one arbiter and its machine's clocks.
type player struct {
	state  State
	boot   time.Duration
	jumped time.Duration // of the wall clock
	answer string
	out    *bytes.Buffer
}

func play(t *testing.T, happens iter.Seq[string], out *bytes.Buffer) {
	t.Helper()
	p := &player{out: out}
	for line := range happens {
		out.WriteString(line + "\n")
		fields := strings.Fields(line)
		words := map[string]string{}
		for _, field := range fields[1:] {
			name, value, _ := strings.Cut(field, "=")
			words[name] = value
		}
		if fields[0] == "start" {
			p.start(words)
			continue
		}
		at, err := strconv.ParseFloat(fields[0], 64)
		if err != nil || len(fields) < 2 {
			t.Fatalf("want a time and what happens: %q", line)
		}
		p.boot = time.Duration(at * float64(time.Second))
		if !p.happen(fields[1], words) {
			t.Fatalf("nothing like this happens: %q", line)
		}
	}
}

func (p *player) start(words map[string]string) {
	folder, process, _ := strings.Cut(words["me"], ".")
	p.state = New(Settings{
		Region: events.Region(words["region"]), First: events.RegionA, Incarnation: Incarnation{folder, process},
		Validity: 5 * time.Second, Delta: 500 * time.Millisecond, Fence: 1500 * time.Millisecond, Renew: 500 * time.Millisecond, Look: 100 * time.Millisecond,
		Shared: state.Config{Mandate: 5, Delta: 0.5, Drift: 0.001},
	})
	p.answer = ""
}

func (p *player) now() Instant { return p.instant(p.boot) }

func (p *player) instant(boot time.Duration) Instant {
	return Instant{Boot: boot, Wall: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC).Add(boot + p.jumped)}
}

func (p *player) happen(verb string, words map[string]string) bool {
	number := func(name string) int64 { n, _ := strconv.ParseInt(words[name], 10, 64); return n }
	switch verb {
	case "tick":
		p.decide(Ticked{})
	case "stop":
		p.decide(Stopped{})
	case "failed":
		p.decide(Failed{})
	case "wall":
		by, _ := strconv.ParseFloat(words["jump"], 64)
		p.jumped += time.Duration(by * float64(time.Second))
	case "asked":
	case "learned":
		_, primary := words["primary"]
		p.decide(Learned{Epoch: events.Epoch(number("epoch")), Primary: primary})
	case "renewed":
		sent, _ := strconv.ParseFloat(words["sent"], 64)
		failover := int64(1)
		if p.state.seen != nil && p.state.seen.Failover != nil {
			failover = p.state.seen.FailoverRevision
		} else if p.state.seen != nil {
			failover = number("revision")
		}
		p.decide(Renewed{Number: number("number"), Sent: p.instant(time.Duration(sent * float64(time.Second))), Revision: number("revision"), FailoverRevision: failover})
	case "seen":
		p.decide(p.view(words, number))
	default:
		return false
	}
	p.say()
	return true
}

// view makes a read of etcd; without words nothing was ever written there.
func (p *player) view(words map[string]string, number func(string) int64) Seen {
	shared := p.state.settings.Shared
	if words["active"] == "" {
		return Seen{}
	}
	if words["M"] != "" {
		shared.Mandate = float64(number("M"))
	}
	failover := state.Failover{Epoch: events.Epoch(number("epoch")), Active: events.Region(words["active"]), Phase: state.PhaseSteady}
	if words["phase"] != "" {
		failover.Phase = state.Phase(words["phase"])
	}
	mandate := state.Mandate{Owner: failover.Active, Epoch: failover.Epoch, Incarnation: words["by"], Renewal: number("number")}
	if words["owner"] != "" { // of an earlier epoch
		mandate.Owner, mandate.Epoch = events.Region(words["owner"]), events.Epoch(number("of"))
	}
	return Seen{
		Failover: &failover, Mandate: &mandate, Config: &shared,
		FailoverRevision: number("state"), MandateRevision: number("mandate"), ConfigRevision: 1,
	}
}

func (p *player) decide(o Observation) {
	var actions []Action
	p.state, actions = Decide(p.state, o, p.now())
	for _, a := range actions {
		switch a := a.(type) {
		case Read:
			fmt.Fprintf(p.out, "  read etcd\n")
		case Take:
			fmt.Fprintf(p.out, "  take the first mandate, as number %d\n", a.Number)
		case Renew:
			fmt.Fprintf(p.out, "  renew epoch %d as number %d over mandate %d and state %d\n", a.Epoch, a.Number, a.MandateRevision, a.FailoverRevision)
		case Open:
			fmt.Fprintf(p.out, "  OPEN under epoch %d\n", a.Epoch)
		case Close:
			fmt.Fprintf(p.out, "  CLOSE: %s\n", a.Reason)
		case Fence:
			fmt.Fprintf(p.out, "  FENCE, epoch %d\n", a.Epoch)
		}
	}
}

// say tells what /mandate answers at this moment, when that has changed; the answer needs no decision to expire.
func (p *player) say() {
	yes, why := p.state.Answer().Yes(p.now())
	answer := "yes"
	if !yes {
		answer = "no: " + why
	}
	if answer != p.answer {
		fmt.Fprintf(p.out, "  /mandate says %s\n", answer)
		p.answer = answer
	}
}
