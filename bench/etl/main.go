// Command etl measures the warehouse's path side by side with what it replaces, in one run.
//
// Usage: go run ./etl -ingest [-mib N] [-rounds N] [-stored], go run ./etl -load [-rows N], or go run ./etl -marts [-rows N]. It ends with status 1 when a target is missed, 2 when it was called wrongly.
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

func run(ctx context.Context, args []string, out, problems io.Writer) int {
	flags := flag.NewFlagSet("etl", flag.ContinueOnError)
	flags.SetOutput(problems)
	reading := flags.Bool("ingest", false, "etl-ingest against curl")
	mib := flags.Int64("mib", 1024, "size of the export for -ingest")
	stored := flags.Bool("stored", false, "the export of -ingest is kept in a file, so that serving it costs nothing")
	loads := flags.Bool("load", false, "etl-transform against DuckDB alone")
	refresh := flags.Bool("marts", false, "the marts of a delta on a base and on a tenth of it")
	rows := flags.Int("rows", 10_000_000, "invoices of the base for -load and -marts; the delta has 10 000")
	rounds := flags.Int("rounds", 3, "rounds; each runs both sides, in alternating order")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	contest, least := load, 2*deltaRows
	if *refresh {
		contest, least = marts, 20*deltaRows
	}
	if *loads != *refresh && !*reading && *rows >= least && flags.NArg() == 0 {
		met, err := contest(ctx, out, *rows)
		if err != nil {
			_, _ = fmt.Fprintln(problems, "etl:", err)
		}
		if err != nil || !met {
			return 1
		}
		return 0
	}
	if !*reading || *mib < 1 || *rounds < 1 || flags.NArg() > 0 {
		_, _ = fmt.Fprintln(problems, "etl: want -ingest, -load (with -rows of 20 000 or more) or -marts (200 000 or more), -mib of 1 or more, -rounds of 1 or more and no arguments")
		return 2
	}
	_, _ = fmt.Fprintf(out, "%s/%s, %d processors, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	met, err := ingest(ctx, out, *mib<<20, *rounds, *stored)
	if err != nil {
		_, _ = fmt.Fprintln(problems, "etl:", err)
		return 1
	}
	if !met {
		return 1
	}
	return 0
}
