package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/events"
)

// analyses are the subcommands that read a recording: events, one a line, on standard input, as `ofitec events replay -o json` prints them or bare. They need neither configuration nor
// network nor identity: whoever may read the streams feeds them.
var analyses = map[string]func(args []string, in io.Reader, out io.Writer) error{"explain": explain, "replay": replay}

// heard is an event of a recording.
type heard struct {
	event   events.Event
	payload events.Payload
	at      time.Time // when it was stored; when it happened where that is not known
}

// lineAtMost bounds an event of a recording.
const lineAtMost = 8 << 20

// eachHeard reads a recording to its end. A line that is no event is an error that names it.
func eachHeard(in io.Reader, visit func(heard) error) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), lineAtMost)
	for number := 1; lines.Scan(); number++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		h, err := hearLine(lines.Bytes())
		if err == nil {
			err = visit(h)
		}
		if err != nil {
			return fmt.Errorf("line %d of the recording: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the recording: %w", err)
	}
	return nil
}

func hearLine(line []byte) (h heard, err error) {
	var stored struct {
		Stored  time.Time       `json:"stored"`
		Message json.RawMessage `json:"message"`
	}
	if err := json.Unmarshal(line, &stored); err != nil {
		return h, err
	}
	if stored.Message != nil {
		line = stored.Message
	}
	if h.event, err = events.Decode(line); err != nil {
		return h, err
	}
	if h.payload, err = h.event.Payload(); err != nil {
		return h, err
	}
	h.at = stored.Stored
	if h.at.IsZero() {
		h.at = h.event.Time
	}
	return h, nil
}

// flagsOf are the flags of an analysis; what is wrong with them is wrong use.
func flagsOf(name string) (flags *flag.FlagSet, output *string) {
	flags = flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags, flags.String("o", "text", "text or json")
}

func parse(flags *flag.FlagSet, output *string, args []string) error {
	if err := flags.Parse(args); err != nil {
		return &chassis.UsageError{Reason: flags.Name() + ": " + err.Error()}
	}
	if *output != "text" && *output != "json" {
		return &chassis.UsageError{Reason: fmt.Sprintf("%s: -o %q: must be text or json", flags.Name(), *output)}
	}
	return nil
}

func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// errDiffers is a decision that does not come out as it was recorded; the output says which.
var errDiffers = errors.New("a decision does not follow from what is recorded of it")
