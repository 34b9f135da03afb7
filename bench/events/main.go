// Command events measures publishing, consuming and replaying events against plain nats.go on the same embedded server, in one run.
//
// Usage: go run ./events [-only publish|consume|replay] [-count N] [-rounds N]. It ends with status 1 when a ratio misses its target, 2 when it was called wrongly.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, problems io.Writer) int {
	flags := flag.NewFlagSet("events", flag.ContinueOnError)
	flags.SetOutput(problems)
	only := flags.String("only", "", "one of publish, consume, replay; all when empty")
	count := flags.Int("count", 50_000, "events a round and side")
	rounds := flags.Int("rounds", 5, "rounds; each runs both sides, in alternating order")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	known := *only == "" || slices.ContainsFunc(contests, func(c contest) bool { return c.name == *only })
	if !known {
		fmt.Fprintf(problems, "events: -only is %q, want publish, consume or replay\n", *only)
		return 2
	}
	if *count < 1000 || *rounds < 1 || flags.NArg() > 0 {
		fmt.Fprintln(problems, "events: want -count of 1000 or more, -rounds of 1 or more and no arguments")
		return 2
	}
	machine(out)
	met, err := compare(out, *only, *count, *rounds)
	if err != nil {
		fmt.Fprintln(problems, "events:", err)
		return 1
	}
	if !met {
		return 1
	}
	return 0
}
