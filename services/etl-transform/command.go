package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/ofitec/ofitec/chassis"
)

// command is one that looks at the warehouse, or does something with it, and ends.
type command struct {
	run    func(ctx context.Context, c *Config, args []string, out io.Writer) error
	speaks bool // it needs the bus
}

// commands are those that the program knows beside serving; `ofitec etl` calls them.
var commands = map[string]command{
	"close":      {run: runClose},
	"erase":      {run: runErase},
	"rebuild":    {run: runRebuild},
	"rotate-key": {run: runRotateKey},
	"verify":     {run: runVerify},
	"plan":       {run: runPlan},
	"check":      {run: runCheck},
	"trace":      {run: runTrace},
	"quarantine": {run: runQuarantine},
	"reveal":     {run: runReveal, speaks: true},
}

// arguments are a command's flags and the words beside them.
type arguments struct {
	*flag.FlagSet
	name   string
	output string
}

func newArguments(name string) *arguments {
	a := &arguments{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), name: name}
	a.SetOutput(io.Discard)
	a.StringVar(&a.output, "o", "text", "text or json")
	return a
}

// read parses the command line, which has this many words beside its flags, before or behind them; -1 for any number.
func (a *arguments) read(args []string, words int) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if err := a.Parse(args); err != nil {
			return nil, &chassis.UsageError{Reason: fmt.Sprintf("%s: %v", a.name, err)}
		}
		if args = a.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	if words >= 0 && len(rest) != words {
		return nil, &chassis.UsageError{Reason: fmt.Sprintf("%s: it takes %d arguments beside its flags, not %d", a.name, words, len(rest))}
	}
	if a.output != "text" && a.output != "json" {
		return nil, &chassis.UsageError{Reason: fmt.Sprintf("%s: -o %q: want text or json", a.name, a.output)}
	}
	return rest, nil
}

// print writes an answer as JSON, or as the text that write makes.
func (a *arguments) print(out io.Writer, answer any, write func(io.Writer)) error {
	if a.output == "text" {
		write(out)
		return nil
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}

// discarding is the log of what says itself how it went.
var discarding = slog.New(slog.DiscardHandler)
