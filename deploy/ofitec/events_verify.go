package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

func newEventsVerify() *cobra.Command {
	var chosen selection
	var part past
	command := &cobra.Command{
		Use:   "verify",
		Short: "Hold each message of a stream's past against its contract; exits 1 when one does not keep it",
		Long: `Read each message as whoever gets it from us alone would: it is an event by its envelope, it stands at its own subject under its own message id, and its data keep the JSON Schema that its
dataschema names and what our own programs demand beyond it. Messages on PARKED are those that a consumer gave up on, with subjects and ids of their own.
A type that this version does not know is counted, and is no fault: a newer program may have published it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			wanted, err := chosen.wanted()
			if err != nil {
				return err
			}
			if err := part.narrow(&wanted); err != nil {
				return err
			}
			result, err := verifyStream(cmd, wanted)
			if err != nil {
				return err
			}
			return tellVerdict(cmd, inJSON, result, result.Faults == 0)
		},
	}
	chosen.register(command)
	part.register(command)
	return command
}

func verifyStream(cmd *cobra.Command, wanted bus.Range) (*verification, error) {
	l, err := local.Open(dataFolder(cmd))
	if err != nil {
		return nil, err
	}
	o, err := newOperator(l)
	if err != nil {
		return nil, err
	}
	conn, js, err := o.nats()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	result := newVerification(wanted.Stream)
	return result, bus.NewJetStream(js, nil).Replay(cmd.Context(), wanted, result.add)
}

// firstFaults is how many faults are told one by one.
const firstFaults = 10

// verification is what was found in a stream.
type verification struct {
	Stream   string                  `json:"stream"`
	First    uint64                  `json:"first_sequence,omitempty"`
	Last     uint64                  `json:"last_sequence,omitempty"`
	Messages int                     `json:"messages"`
	Faults   int                     `json:"faults"`
	Unknown  int                     `json:"of_unknown_type"`
	Types    map[string]*verifyCount `json:"types"`
	Told     []verifyFault           `json:"first_faults"`

	schemas map[events.Type]*jsonschema.Schema
}

type verifyCount struct {
	Messages int `json:"messages"`
	Faults   int `json:"faults"`
}

type verifyFault struct {
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	Subject  string    `json:"subject"`
	Why      string    `json:"why"`
}

func newVerification(stream string) *verification {
	return &verification{Stream: stream, Types: map[string]*verifyCount{}, Told: []verifyFault{}, schemas: map[events.Type]*jsonschema.Schema{}}
}

// add looks at one message.
func (v *verification) add(r bus.Replayed) error {
	if v.Messages == 0 {
		v.First = r.Sequence
	}
	v.Last = r.Sequence
	v.Messages++
	name := "(no event)"
	if r.Err == nil {
		name = r.Event.Type.Name()
	}
	of := v.Types[name]
	if of == nil {
		of = &verifyCount{}
		v.Types[name] = of
	}
	of.Messages++
	why := v.fault(r)
	if errors.Is(why, events.ErrUnknownType) {
		v.Unknown++
		return nil
	}
	if why == nil {
		return nil
	}
	of.Faults++
	v.Faults++
	if len(v.Told) < firstFaults {
		v.Told = append(v.Told, verifyFault{r.Sequence, r.Stored.UTC(), r.Subject, why.Error()})
	}
	return nil
}

// fault says why a message does not keep its contract.
func (v *verification) fault(r bus.Replayed) error {
	if r.Err != nil {
		return fmt.Errorf("not an event: %w", r.Err)
	}
	e := r.Event
	if v.Stream != events.StreamParked {
		if e.Subject != r.Subject {
			return fmt.Errorf("subject is %q, want %q, where it stands", e.Subject, r.Subject)
		}
		if id := r.Header[bus.HeaderMsgID]; len(id) != 1 || id[0] != e.MsgID() {
			return fmt.Errorf("%s is %q, want %q", bus.HeaderMsgID, id, e.MsgID())
		}
	}
	schema, err := v.schema(e.Type)
	if err != nil {
		return err
	}
	data, err := jsonschema.UnmarshalJSON(bytes.NewReader(e.Data))
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	if err := schema.Validate(data); err != nil {
		return fmt.Errorf("data do not keep %s: %w", e.DataSchema, err)
	}
	_, err = e.Payload()
	return err
}

// schema is that of a type, read once.
func (v *verification) schema(t events.Type) (*jsonschema.Schema, error) {
	if known := v.schemas[t]; known != nil {
		return known, nil
	}
	text, ok := events.Schema(t)
	if !ok {
		return nil, fmt.Errorf("%w: %q", events.ErrUnknownType, string(t))
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("read schema of %s: %w", t.Name(), err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(t.DataSchema(), document); err != nil {
		return nil, fmt.Errorf("read schema of %s: %w", t.Name(), err)
	}
	schema, err := compiler.Compile(t.DataSchema())
	if err != nil {
		return nil, fmt.Errorf("read schema of %s: %w", t.Name(), err)
	}
	v.schemas[t] = schema
	return schema, nil
}

func (v *verification) print(w io.Writer) error {
	_, _ = fmt.Fprintf(w, "%s: %d messages", v.Stream, v.Messages)
	if v.Messages > 0 {
		_, _ = fmt.Fprintf(w, " from %d to %d", v.First, v.Last)
	}
	_, _ = fmt.Fprintf(w, ", %d do not keep their contract", v.Faults)
	if v.Unknown > 0 {
		_, _ = fmt.Fprintf(w, ", %d are of a type that this version does not know", v.Unknown)
	}
	_, _ = fmt.Fprintln(w)
	if v.Messages == 0 {
		return nil
	}
	names := make([]string, 0, len(v.Types))
	for name := range v.Types {
		names = append(names, name)
	}
	slices.Sort(names)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "TYPE\tMESSAGES\tFAULTS")
	for _, name := range names {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\n", name, v.Types[name].Messages, v.Types[name].Faults)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, fault := range v.Told {
		_, _ = fmt.Fprintf(w, "%6d  %s  %s  %s\n", fault.Sequence, fault.Stored.Format(time.RFC3339), fault.Subject, fault.Why)
	}
	return nil
}
