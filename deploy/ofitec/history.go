package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// history is what FACTS say of failovers, in order.
type history struct {
	Failovers []pastFailover `json:"failovers"`
	Other     []pastFact     `json:"other"` // held, rejoined, and what operators did
}

// pastFailover is one epoch's story. Times are missing for steps that were not reached.
type pastFailover struct {
	Epoch     uint64                `json:"epoch"`
	From      events.Region         `json:"from"`
	To        events.Region         `json:"to"`
	Cause     events.Cause          `json:"cause"`
	Rule      string                `json:"rule,omitempty"`
	Act       *events.Act           `json:"act,omitempty"`
	Loss      events.LossBound      `json:"loss"`
	Decided   *time.Time            `json:"decided_at,omitempty"`
	Fenced    *time.Time            `json:"fenced_at,omitempty"`
	Manner    string                `json:"fenced_by,omitempty"`
	Promoted  *time.Time            `json:"promoted_at,omitempty"`
	Switched  *time.Time            `json:"switched_at,omitempty"`
	Completed *time.Time            `json:"completed_at,omitempty"`
	Times     *events.RecoveryTimes `json:"times,omitempty"`
	Aborted   string                `json:"aborted,omitempty"` // why it was given up
}

// pastFact is another event of the failover's domain.
type pastFact struct {
	At    time.Time     `json:"at"`
	Type  string        `json:"type"`
	Epoch uint64        `json:"epoch"`
	Text  string        `json:"text"`
	Act   *events.Act   `json:"act,omitempty"`
	In    events.Region `json:"region"`
}

// failoverTypes are the facts that tell of failovers.
var failoverTypes = []events.Type{
	events.TypeFailoverStarted, events.TypeFailoverFenced, events.TypeFailoverPromoted, events.TypeFailoverSwitched, events.TypeFailoverCompleted, events.TypeFailoverAborted,
	events.TypeFailoverHeld, events.TypeFailoverRejoined, events.TypeFailoverPaused, events.TypeFailoverResumed, events.TypeFailoverOverridden, events.TypeFailoverAcknowledged, events.TypeFailoverSynchronized,
}

func newHistory() *cobra.Command {
	var since string
	command := &cobra.Command{
		Use:   "history",
		Short: "Show past failovers and what operators did, from the audit trail",
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			from, err := moment("--since", since)
			if err != nil {
				return err
			}
			l, err := local.Open(dataFolder(cmd))
			if err != nil {
				return err
			}
			o, err := newOperator(l)
			if err != nil {
				return err
			}
			past, err := o.history(cmd.Context(), from)
			if err != nil {
				return err
			}
			if inJSON {
				return writeJSON(cmd.OutOrStdout(), past)
			}
			return past.print(cmd.OutOrStdout())
		},
	}
	command.Flags().StringVar(&since, "since", "", "begin: a time (2026-11-24T10:00:00Z) or a duration back from now (48h)")
	outputFlag(command)
	return command
}

// history replays FACTS.
func (o *operator) history(ctx context.Context, from time.Time) (history, error) {
	conn, js, err := o.nats()
	if err != nil {
		return history{}, err
	}
	defer conn.Close()
	var facts []events.Event
	err = bus.NewJetStream(js, nil).Replay(ctx, bus.Range{Stream: events.StreamFacts, Types: failoverTypes, From: from}, func(r bus.Replayed) error {
		if r.Err == nil {
			facts = append(facts, r.Event)
		}
		return nil
	})
	if err != nil {
		return history{}, fmt.Errorf("read history: %w", err)
	}
	return tell(facts)
}

// tell joins the facts of each epoch. A fact that comes twice changes nothing.
func tell(facts []events.Event) (history, error) {
	past := history{Failovers: []pastFailover{}, Other: []pastFact{}}
	seen := map[string]bool{}
	for _, event := range facts {
		if seen[event.MsgID()] {
			continue
		}
		seen[event.MsgID()] = true
		payload, err := event.Payload()
		if err != nil {
			return past, fmt.Errorf("read history: %w", err)
		}
		if !past.step(payload) {
			past.Other = append(past.Other, other(event, payload))
		}
	}
	slices.SortStableFunc(past.Failovers, func(a, b pastFailover) int { return int(int64(a.Epoch) - int64(b.Epoch)) })
	return past, nil
}

// of is the story of an epoch, begun with the first fact that names it.
func (h *history) of(f events.Failover) *pastFailover {
	n := slices.IndexFunc(h.Failovers, func(p pastFailover) bool { return p.Epoch == uint64(f.Epoch) })
	if n < 0 {
		h.Failovers = append(h.Failovers, pastFailover{Epoch: uint64(f.Epoch), From: f.From, To: f.To, Cause: f.Cause})
		n = len(h.Failovers) - 1
	}
	return &h.Failovers[n]
}

// step takes a fact of a failover's own course; false for others.
func (h *history) step(payload events.Payload) bool {
	switch p := payload.(type) {
	case events.FailoverStarted:
		story := h.of(p.Failover)
		story.Rule, story.Act, story.Loss, story.Decided = p.Rule, p.Act, p.Loss, &p.DecidedAt
	case events.FailoverFenced:
		story := h.of(p.Failover)
		story.Manner, story.Loss, story.Fenced = p.Manner, p.Loss, &p.FencedAt
	case events.FailoverPromoted:
		h.of(p.Failover).Promoted = &p.PromotedAt
	case events.FailoverSwitched:
		h.of(p.Failover).Switched = &p.SwitchedAt
	case events.FailoverCompleted:
		story := h.of(p.Failover)
		story.Completed, story.Times, story.Loss = &p.CompletedAt, &p.Times, p.Loss
	case events.FailoverAborted:
		h.of(p.Failover).Aborted = p.Reason
	default:
		return false
	}
	return true
}

func other(event events.Event, payload events.Payload) pastFact {
	fact := pastFact{At: event.Time, Type: event.Type.Name(), Epoch: uint64(event.Epoch), In: event.Region}
	manual := func(m events.ManualFailover, text string) {
		fact.Act, fact.Text = &m.Act, text+" by "+m.Act.Actor+": "+m.Act.Reason
	}
	switch p := payload.(type) {
	case events.FailoverHeld:
		fact.Text = "held back by rule " + p.Rule + ": " + p.Reason + "; loss " + loss(p.Loss)
	case events.FailoverRejoined:
		fact.Text = fmt.Sprintf("region %s is a standby again (%s), %d bytes of its own given up", p.Region, p.Manner, p.Discarded)
	case events.FailoverPaused:
		manual(p.ManualFailover, "paused")
	case events.FailoverResumed:
		manual(p.ManualFailover, "resumed")
	case events.FailoverOverridden:
		manual(p.ManualFailover, "rule "+p.Rule+" overridden")
		if p.Attested != "" {
			fact.Text += "; attested: " + p.Attested
		}
	case events.FailoverSynchronized:
		fact.Act, fact.Text = p.Act, fmt.Sprintf("synchronous replication is %s: %s", p.Mode, p.Cause)
	case events.FailoverAcknowledged:
		manual(p.ManualFailover, fmt.Sprintf("failover of epoch %d acknowledged", uint64(p.Failover)))
	}
	return fact
}

func (h history) print(w io.Writer) error {
	if len(h.Failovers)+len(h.Other) == 0 {
		_, err := fmt.Fprintln(w, "no failover yet")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "epoch\tfrom\tto\tcause\tdecided\tfenced by\tloss\twithout writes\tend")
	for _, f := range h.Failovers {
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Epoch, or(string(f.From), "-"), f.To, f.Cause, clockTime(f.Decided), or(f.Manner, "-"), loss(f.Loss), f.total(), f.end())
	}
	if err := table.Flush(); err != nil || len(h.Other) == 0 {
		return err
	}
	_, _ = fmt.Fprintln(table)
	for _, fact := range h.Other {
		_, _ = fmt.Fprintf(table, "%s\tepoch %d\t%s\n", fact.At.Local().Format(time.DateTime), fact.Epoch, fact.Text)
	}
	return table.Flush()
}

func (f pastFailover) end() string {
	switch {
	case f.Aborted != "":
		return "given up: " + f.Aborted
	case f.Completed != nil:
		return "completed " + clockTime(f.Completed)
	}
	return "under way"
}

func (f pastFailover) total() string {
	if f.Times == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f s", f.Times.Total)
}

// loss is the bound up to the last renewal, which a failover is refused by, and beside it the seconds with all that a holder who was cut off may have committed after that.
func loss(b events.LossBound) string {
	if !b.Known() {
		return "unknown"
	}
	text := fmt.Sprintf("at most %.1f s, %d bytes", *b.Seconds, *b.Bytes)
	if b.Exposed != nil && *b.Exposed > *b.Seconds {
		text += fmt.Sprintf(" (%.1f s exposed)", *b.Exposed)
	}
	return text
}

func clockTime(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.Local().Format(time.DateTime)
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
