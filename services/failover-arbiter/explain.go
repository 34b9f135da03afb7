package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/failover"
)

// explanation is one decision: what was known, which rule fired, and whether the same comes of it now.
type explanation struct {
	Type    string        `json:"type"`
	Epoch   events.Epoch  `json:"epoch"`
	At      time.Time     `json:"at"`
	Leader  events.Region `json:"leader"`
	Term    int64         `json:"term,omitempty"`
	Decided string        `json:"decided"` // in words
	Rule    string        `json:"rule,omitempty"`

	Observers []opinion        `json:"observers"`
	Seen      *failover.Status `json:"seen,omitempty"`
	Limits    *limits          `json:"limits,omitempty"`

	Again   string `json:"again"` // same, different, or not recorded
	Bytes   int    `json:"bytes,omitempty"`
	Instead string `json:"instead,omitempty"` // what comes of it now, when that differs
}

// opinion is what an observer had said.
type opinion struct {
	Observer    events.Region  `json:"observer"`
	Target      events.Region  `json:"target"`
	Number      int64          `json:"number"`
	At          time.Time      `json:"at"`
	Age         float64        `json:"age_seconds"`
	Verdict     events.Outcome `json:"verdict"`
	Failures    int            `json:"failures_in_row"`
	Gates       events.Outcome `json:"gates"`
	Incarnation string         `json:"incarnation"`
}

// limits are the thresholds of the decision.
type limits struct {
	Failures int     `json:"failures"`
	Window   float64 `json:"window_seconds"`
	Majority int     `json:"majority"`
	Mandate  float64 `json:"mandate_and_delta_seconds"`
	GatesRed float64 `json:"gates_red_seconds"`
	MaxLoss  float64 `json:"max_loss_seconds"`
	Cooldown float64 `json:"cooldown_seconds"`
}

// explain reads failover events and explains each decision of an epoch, or all of them: explain [-o json] [EPOCH].
func explain(args []string, in io.Reader, out io.Writer) error {
	flags, output := flagsOf("explain")
	if err := parse(flags, output, args); err != nil {
		return err
	}
	var wanted uint64
	var err error
	if flags.NArg() == 1 {
		wanted, err = strconv.ParseUint(flags.Arg(0), 10, 64)
	}
	if flags.NArg() > 1 || err != nil || flags.NArg() == 1 && wanted == 0 {
		return &chassis.UsageError{Reason: fmt.Sprintf("explain %s: want one epoch, a number from 1", strings.Join(flags.Args(), " "))}
	}
	list := []explanation{}
	err = eachHeard(in, func(h heard) error {
		if h.event.Type.Domain() == "failover" && (wanted == 0 || uint64(h.event.Epoch) == wanted) {
			e, err := explainOne(h)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if *output == "json" {
		err = printJSON(out, list)
	} else {
		err = printExplanations(out, wanted, list)
	}
	for _, e := range list {
		if e.Again == "different" && err == nil {
			err = errDiffers
		}
	}
	return err
}

func explainOne(h heard) (explanation, error) {
	e := explanation{
		Type: h.event.Type.Name(), Epoch: h.event.Epoch, At: h.event.Time, Leader: h.event.Region, Decided: inWords(h.payload), Observers: []opinion{}, Again: "not recorded",
	}
	if started, is := h.payload.(events.FailoverStarted); is {
		e.Rule, e.Term = started.Rule, started.Term
	}
	if held, is := h.payload.(events.FailoverHeld); is {
		e.Rule, e.Term = held.Rule, held.Term
	}
	basis := events.BasisOf(h.payload)
	if basis == nil {
		return e, nil
	}
	for _, o := range basis.Observations {
		if o.Health != nil {
			opinion := opinion{
				Observer: o.Observer, Target: o.Health.Target, Number: o.Number, At: o.Health.ObservedAt, Age: o.AgeSeconds, Verdict: o.Health.Verdict,
				Failures: o.Health.FailuresInRow, Gates: events.OutcomeUnknown, Incarnation: o.Incarnation,
			}
			if o.Health.Gates != nil {
				opinion.Gates = o.Health.Gates.Healthy
			}
			e.Observers = append(e.Observers, opinion)
		}
	}
	record, err := failover.ReadRecord(*basis)
	if err != nil {
		return e, err
	}
	s := record.Settings
	e.Term = record.Term
	e.Limits = &limits{
		Failures: s.Failures, Window: s.Window.Seconds(), Majority: len(s.Observers)/2 + 1, Mandate: (s.Validity + s.Delta).Seconds(),
		GatesRed: s.GatesRed.Seconds(), MaxLoss: s.MaxLoss.Seconds(), Cooldown: s.Cooldown.Seconds(),
	}
	actions, seen, err := failover.DecideAgain(*basis)
	if err != nil {
		return e, err
	}
	e.Seen = &seen
	return e, e.compare(h, actions)
}

// compare holds what comes of the record now beside what was published.
func (e *explanation) compare(h heard, actions []failover.Action) error {
	published, err := json.Marshal(h.payload)
	if err != nil {
		return err
	}
	e.Again, e.Bytes, e.Instead = "different", len(published), "nothing"
	for _, action := range actions {
		swap, is := action.(failover.Swap)
		if !is {
			continue
		}
		for _, a := range swap.Announce {
			now, err := json.Marshal(a.Payload)
			if err != nil {
				return err
			}
			if bytes.Equal(now, published) {
				e.Again, e.Instead = "same", ""
				return nil
			}
			if a.Payload.Type() == h.payload.Type() {
				e.Instead = string(now)
			}
		}
		if e.Instead == "nothing" {
			e.Instead = swap.Why
		}
	}
	return nil
}

// inWords says what was decided.
func inWords(p events.Payload) string {
	switch p := p.(type) {
	case events.FailoverStarted:
		return fmt.Sprintf("a failover from %s to %s, because of %s", p.From, p.To, p.Cause)
	case events.FailoverHeld:
		return "no failover: " + p.Reason
	case events.FailoverFenced:
		return fmt.Sprintf("region %s is fenced (%s)", p.From, p.Manner)
	case events.FailoverPromoted:
		return fmt.Sprintf("region %s owns the mandate, on timeline %d", p.To, p.Timeline)
	case events.FailoverSwitched:
		return fmt.Sprintf("%s leads to %s", p.Name, p.Address)
	case events.FailoverCompleted:
		return fmt.Sprintf("the failover is completed, %.2f s without writes", p.Times.Total)
	case events.FailoverAborted:
		return "the failover is given up: " + p.Reason
	case events.FailoverRejoined:
		return fmt.Sprintf("region %s is a standby again (%s)", p.Region, p.Manner)
	case events.FailoverOverridden:
		return fmt.Sprintf("rule %s is overridden by %s: %s", p.Rule, p.Act.Actor, p.Act.Reason)
	}
	return p.Type().Fact()
}

func printExplanations(out io.Writer, wanted uint64, list []explanation) error {
	if len(list) == 0 {
		_, err := fmt.Fprintf(out, "no decision is recorded of epoch %d\n", wanted)
		return err
	}
	for n, e := range list {
		if n > 0 {
			fmt.Fprintln(out)
		}
		if err := e.print(out); err != nil {
			return err
		}
	}
	return nil
}

func (e explanation) print(out io.Writer) error {
	fmt.Fprintf(out, "%s  %s, epoch %d, by the arbiter of region %s", e.At.UTC().Format("2006-01-02 15:04:05.000"), e.Type, uint64(e.Epoch), e.Leader)
	if e.Term > 0 {
		fmt.Fprintf(out, " under term %d", e.Term)
	}
	fmt.Fprintf(out, "\n  decided   %s\n", e.Decided)
	if e.Rule != "" {
		fmt.Fprintf(out, "  rule      %s\n", e.Rule)
	}
	if l := e.Limits; l != nil {
		fmt.Fprintf(out, "  limits    %d failures in a row by %d observers heard within %g s; mandate and delta %g s; gates red %g s; loss %g s; cooldown %g s\n",
			l.Failures, l.Majority, l.Window, l.Mandate, l.GatesRed, l.MaxLoss, l.Cooldown)
	}
	if s := e.Seen; s != nil {
		loss := "unknown"
		if s.Loss.Known() {
			loss = fmt.Sprintf("%.1f s and %d bytes at most", *s.Loss.Seconds, *s.Loss.Bytes)
		}
		if s.Loss.Exposed != nil {
			loss += fmt.Sprintf(" up to the last renewal; %.1f s with all that may be committed after it", *s.Loss.Exposed)
		}
		fmt.Fprintf(out, "  loss      %s\n", loss)
		if s.Against != "" {
			fmt.Fprintf(out, "  against   %s\n", s.Against)
		}
	}
	if len(e.Observers) > 0 {
		table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(table, "  observer\tsaw\tnumber\tat\tage\tverdict\tfailures\tgates")
		for _, o := range e.Observers {
			fmt.Fprintf(table, "  %s\t%s\t%d\t%s\t%.3f s\t%s\t%d\t%s\n", o.Observer, o.Target, o.Number, o.At.UTC().Format("15:04:05.000"), o.Age, o.Verdict, o.Failures, o.Gates)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	var err error
	switch e.Again {
	case "same":
		_, err = fmt.Fprintf(out, "  again     the same decision from the record, %d bytes of %d\n", e.Bytes, e.Bytes)
	case "different":
		_, err = fmt.Fprintf(out, "  again     ANOTHER DECISION from the record: %s\n", e.Instead)
	default:
		_, err = fmt.Fprintln(out, "  again     not recorded: the event is of an arbiter from before records, or nobody decided it")
	}
	return err
}
