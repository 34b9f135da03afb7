package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

func newEvents() *cobra.Command {
	command := &cobra.Command{Use: "events", Short: "Read the event streams: the past and what comes"}
	command.AddCommand(newEventsTail(), newEventsReplay(), newEventsVerify())
	return command
}

// selection are the flags that both readers share.
type selection struct {
	stream, region string
	types          []string
}

func (s *selection) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.stream, "stream", events.StreamFacts, "HEALTH, FACTS, JOBS or PARKED")
	flags.StringVar(&s.region, "region", "", "only events that this region has published")
	flags.StringSliceVar(&s.types, "type", nil, "only these types, such as failover.started.v1")
	outputFlag(cmd)
}

func (s *selection) wanted() (bus.Range, error) {
	wanted := bus.Range{Stream: strings.ToUpper(s.stream), Region: events.Region(s.region)}
	if _, ok := events.LookupStream(wanted.Stream); !ok {
		return wanted, wrongUse{fmt.Errorf("--stream %q: must be HEALTH, FACTS, JOBS or PARKED", s.stream)}
	}
	for _, name := range s.types {
		t := events.Type("com.ofitec." + strings.TrimPrefix(name, "com.ofitec."))
		if _, ok := events.Lookup(t); !ok {
			return wanted, wrongUse{fmt.Errorf("--type %q: no such event type; events/README.md lists them", name)}
		}
		wanted.Types = append(wanted.Types, t)
	}
	if wanted.Region != "" && !wanted.Region.Valid() {
		return wanted, wrongUse{fmt.Errorf("--region %q: must be a, b or c", s.region)}
	}
	return wanted, nil
}

func newEventsTail() *cobra.Command {
	var chosen selection
	command := &cobra.Command{
		Use:   "tail",
		Short: "Print events as they come, until Ctrl-C",
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := chosen.wanted()
			if err != nil {
				return err
			}
			wanted.Follow, wanted.From = true, time.Now()
			return replay(cmd, wanted)
		},
	}
	chosen.register(command)
	return command
}

func newEventsReplay() *cobra.Command {
	var chosen selection
	var part past
	command := &cobra.Command{
		Use:   "replay",
		Short: "Print a stream's past in order; nothing is published again",
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted, err := chosen.wanted()
			if err != nil {
				return err
			}
			if err := part.narrow(&wanted); err != nil {
				return err
			}
			return replay(cmd, wanted)
		},
	}
	chosen.register(command)
	part.register(command)
	return command
}

// past are the flags that say which part of a stream's past is meant.
type past struct {
	since, until string
	from, to     uint64
}

func (s *past) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.since, "since", "", "begin: a time (2026-11-24T10:00:00Z) or a duration back from now (2h)")
	flags.StringVar(&s.until, "until", "", "end, exclusive: the same")
	flags.Uint64Var(&s.from, "from", 0, "begin at this sequence of the stream")
	flags.Uint64Var(&s.to, "to", 0, "end at this sequence, inclusive")
}

func (s *past) narrow(wanted *bus.Range) (err error) {
	wanted.FromSequence, wanted.ToSequence = s.from, s.to
	if wanted.From, err = moment("--since", s.since); err != nil {
		return err
	}
	if wanted.To, err = moment("--until", s.until); err != nil {
		return err
	}
	if s.from > 0 && s.since != "" {
		return wrongUse{errors.New("--from and --since: give one of them")}
	}
	return nil
}

// moment reads a time or a duration back from now; "" is the zero time.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil {
		return time.Now().Add(-back), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, wrongUse{fmt.Errorf("%s %q: must be a time such as 2026-11-24T10:00:00Z, or a duration such as 2h", flag, text)}
	}
	return at, nil
}

func replay(cmd *cobra.Command, wanted bus.Range) error {
	inJSON, err := asJSON(cmd)
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
	conn, js, err := o.nats()
	if err != nil {
		return err
	}
	defer conn.Close()
	visit := func(r bus.Replayed) error { return printEvent(cmd.OutOrStdout(), r, inJSON) }
	err = bus.NewJetStream(js, nil).Replay(cmd.Context(), wanted, visit)
	if wanted.Follow && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// printEvent writes one line: in JSON the stored message with where it stands, for people the gist.
func printEvent(w io.Writer, r bus.Replayed, inJSON bool) error {
	if inJSON {
		line := map[string]any{"stream": r.Stream, "sequence": r.Sequence, "stored": r.Stored, "subject": r.Subject}
		if json.Valid(r.Raw) {
			line["message"] = json.RawMessage(r.Raw)
		} else {
			line["raw"] = r.Raw
		}
		if reason := r.Header[bus.HeaderParkedReason]; len(reason) > 0 {
			line["parked_reason"] = reason[0]
		}
		if r.Err != nil {
			line["error"] = r.Err.Error()
		}
		return json.NewEncoder(w).Encode(line)
	}
	if r.Err != nil {
		_, err := fmt.Fprintf(w, "%6d  %s  %s  not an event: %v\n", r.Sequence, r.Stored.UTC().Format(time.RFC3339), r.Subject, r.Err)
		return err
	}
	_, err := fmt.Fprintf(w, "%6d  %s  %s  %s\n", r.Sequence, r.Stored.UTC().Format(time.RFC3339), r.Subject, r.Event.Data)
	return err
}
