package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// credentialFact is one event of a credential.
type credentialFact struct {
	At          time.Time     `json:"at"`
	Type        string        `json:"type"`
	Region      events.Region `json:"region"` // of the publisher
	Version     int64         `json:"version"`
	Text        string        `json:"text"`
	Act         *events.Act   `json:"act,omitempty"`
	Correlation string        `json:"correlation"`
}

var credentialTypes = []events.Type{
	events.TypeCredentialRotated, events.TypeCredentialDeployed, events.TypeCredentialRolledBack, events.TypeCredentialRenewed, events.TypeCredentialRevoked,
	events.TypeCredentialExpiring, events.TypeCredentialBreakGlass,
}

func newCredentialsHistory() *cobra.Command {
	var since string
	command := &cobra.Command{
		Use: "history NAME", Short: "Show what became of a credential's versions, from the audit trail", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := moment("--since", since)
			if err != nil {
				return err
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				past, err := o.credentialHistory(ctx, args[0], from)
				if err != nil {
					return err
				}
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"name": args[0], "facts": past})
				}
				return printCredentialFacts(cmd.OutOrStdout(), args[0], past)
			})
		},
	}
	command.Flags().StringVar(&since, "since", "", "begin: a time (2026-11-24T10:00:00Z) or a duration back from now (48h)")
	outputFlag(command)
	return command
}

// credentialHistory replays FACTS. A fact that comes twice is told once.
func (o *operator) credentialHistory(ctx context.Context, name string, from time.Time) ([]credentialFact, error) {
	conn, js, err := o.nats()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	facts, seen := []credentialFact{}, map[string]bool{}
	err = bus.NewJetStream(js, nil).Replay(ctx, bus.Range{Stream: events.StreamFacts, Types: credentialTypes, From: from}, func(r bus.Replayed) error {
		if r.Err != nil || seen[r.Event.MsgID()] {
			return nil //nolint:nilerr // a message that is no event, or was read already, is passed over
		}
		seen[r.Event.MsgID()] = true
		payload, err := r.Event.Payload()
		if err != nil {
			return fmt.Errorf("read message %d: %w", r.Sequence, err)
		}
		if payload.Entity() == name {
			facts = append(facts, factOf(r.Event, payload))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return facts, nil
}

func factOf(event events.Event, payload events.Payload) credentialFact {
	fact := credentialFact{At: event.Time, Type: event.Type.Name(), Region: event.Region, Correlation: event.CorrelationID}
	switch p := payload.(type) {
	case events.CredentialRotated:
		fact.Version, fact.Act = p.Version, p.Act
		fact.Text = fmt.Sprintf("published after its test, by %s; version %d is before it", p.Trigger, p.Previous)
		if p.Region != "" {
			fact.Text = fmt.Sprintf("region %s is asked: %s", p.Region, fact.Text)
		}
		if p.Act != nil {
			fact.Text += "; asked for by " + p.Act.Actor + ": " + p.Act.Reason
		}
	case events.CredentialDeployed:
		fact.Version, fact.Text = p.Version, fmt.Sprintf("in use on %s after %.1f s, %s", p.Colour, seconds(p.Ended.Sub(p.Started)), readings(p.Rollout))
	case events.CredentialRolledBack:
		fact.Version, fact.Text = p.Version, fmt.Sprintf("rolled back at step %s, version %d is kept: %s; %s", p.Step, p.Kept, p.Reason, readings(p.Rollout))
	case events.CredentialRenewed:
		fact.Version, fact.Text = p.Version, fmt.Sprintf("renewal %d, lives until %s, until %s at most", p.Renewal, p.Lease.ExpiresAt.Local().Format(time.DateTime), p.Lease.DeadlineAt.Local().Format(time.DateTime))
	case events.CredentialRevoked:
		fact.Version, fact.Text = p.Version, fmt.Sprintf("%s: %s; drained in %.1f s, %d sessions ended, no session left %s, %d objects returned",
			p.Manner, p.Cause, p.DrainSeconds, p.SessionsEnded, map[bool]string{true: "(read in the database)", false: "NOT PROVEN"}[p.DrainedProven], p.OrphansReturned)
	case events.CredentialExpiring:
		fact.Version, fact.Text = p.Version, fmt.Sprintf("ALARM %s: %s; %s left, %d rollouts fit", p.Level, p.Reason, time.Duration(p.SecondsLeft*float64(time.Second)).Round(time.Second), p.AttemptsLeft)
	case events.CredentialBreakGlass:
		fact.Version, fact.Act = p.Version, &p.Act
		fact.Text = fmt.Sprintf("taken by hand by %s: %s", p.Act.Actor, p.Act.Reason)
	}
	return fact
}

func readings(r events.Rollout) string {
	text := fmt.Sprintf("gates %d green, %d red, %d without an answer", r.Readings.Green, r.Readings.Red, r.Readings.Inconclusive)
	if r.Standby {
		text += "; the database was read-only and writes were not tested"
	}
	return text
}

func printCredentialFacts(w io.Writer, name string, facts []credentialFact) error {
	if len(facts) == 0 {
		_, err := fmt.Fprintf(w, "nothing was said of credential %s\n", name)
		return err
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "when\tversion\twhat\tregion\t")
	for _, f := range facts {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", f.At.Local().Format(time.DateTime), f.Version, f.Type, f.Region, f.Text)
	}
	return table.Flush()
}
