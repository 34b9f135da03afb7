// Command etl measures the warehouse's path side by side with what it replaces, in one run.
//
// Usage: go run ./etl -ingest [-mib N] [-rounds N] [-stored], go run ./etl -load [-rows N], go run ./etl -marts [-rows N], go run ./etl -publish [-rows N] [-rounds N], or go run ./etl -page. It ends with status 1 when a target
// is missed, 2 when it was called wrongly.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// contest is one comparison; what tells it apart is its flag.
type contest struct {
	flag, about string
	least       int // rows that it can do with; 0 when it takes none
	rows        int // by default
	run         func(ctx context.Context, out io.Writer, o options) (met bool, err error)
}

// options are what the flags say.
type options struct {
	rows, rounds int
	mib          int64
	stored       bool
}

var contests = []contest{
	{"ingest", "etl-ingest against curl", 0, 0, func(ctx context.Context, out io.Writer, o options) (bool, error) {
		return ingest(ctx, out, o.mib<<20, o.rounds, o.stored)
	}},
	{"load", "etl-transform against DuckDB alone", 2 * deltaRows, 10_000_000, func(ctx context.Context, out io.Writer, o options) (bool, error) { return load(ctx, out, o.rows) }},
	{"marts", "the marts of a delta on a base and on a tenth of it", 20 * deltaRows, 10_000_000, func(ctx context.Context, out io.Writer, o options) (bool, error) { return marts(ctx, out, o.rows) }},
	{"publish", "a full load of the readers' database against a raw client's COPY, and deltas", 20 * deltaRows, 1_000_000, func(ctx context.Context, out io.Writer, o options) (bool, error) {
		return publish(ctx, out, o.rows, o.rounds)
	}},
	{"page", "the console's page with 200 projects and five years", 0, 0, func(ctx context.Context, out io.Writer, _ options) (bool, error) { return page(ctx, out) }},
}

func run(ctx context.Context, args []string, out, problems io.Writer) int {
	flags := flag.NewFlagSet("etl", flag.ContinueOnError)
	flags.SetOutput(problems)
	wanted := make([]*bool, len(contests))
	for n, c := range contests {
		wanted[n] = flags.Bool(c.flag, false, c.about)
	}
	var o options
	flags.Int64Var(&o.mib, "mib", 1024, "size of the export for -ingest")
	flags.BoolVar(&o.stored, "stored", false, "the export of -ingest is kept in a file, so that serving it costs nothing")
	flags.IntVar(&o.rows, "rows", 0, "invoices of the base: 10 000 000 by default for -load and -marts, 1 000 000 for -publish; the delta has 10 000")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of -ingest and -publish; each runs both sides, in alternating order")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var chosen []contest
	for n, c := range contests {
		if *wanted[n] {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) != 1 || o.mib < 1 || o.rounds < 1 || flags.NArg() > 0 {
		_, _ = fmt.Fprintln(problems, "etl: want one of -ingest, -load, -marts, -publish and -page, -mib of 1 or more, -rounds of 1 or more and no arguments")
		return 2
	}
	c := chosen[0]
	if o.rows == 0 {
		o.rows = c.rows
	}
	if o.rows < c.least {
		_, _ = fmt.Fprintf(problems, "etl: -rows %d is too few for -%s: want %d or more\n", o.rows, c.flag, c.least)
		return 2
	}
	_, _ = fmt.Fprintf(out, "%s/%s, %d processors, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	met, err := c.run(ctx, out, o)
	if err != nil {
		_, _ = fmt.Fprintln(problems, "etl:", err)
	}
	if err != nil || !met {
		return 1
	}
	return 0
}
