// Command failover measures what a failover takes and what waiting for one costs.
//
// Usage: go run ./failover -decide|-idle [-rounds N] [-for D] [-ofitec PROGRAM -data FOLDER]. It ends with status 1 when a target is missed, 2 when it was called wrongly.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, out, problems io.Writer) int {
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	flags.SetOutput(problems)
	deciding := flags.Bool("decide", false, "replay observations through the arbiter's decision")
	idling := flags.Bool("idle", false, "watch the arbiters of a stack that is up")
	source := flags.String("source", "../services/failover-arbiter", "the arbiter's module, seen from bench/")
	rounds := flags.Int("rounds", 5, "rounds of -decide")
	during := flags.Duration("for", time.Minute, "how long -idle watches")
	ofitec := flags.String("ofitec", "../bin/ofitec", "the operator's program, for -idle")
	data := flags.String("data", "../.ofitec", "the stack's folder, for -idle")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *deciding == *idling || *rounds < 1 || *during < time.Second || flags.NArg() > 0 {
		fmt.Fprintln(problems, "failover: want one of -decide and -idle, -rounds of 1 or more, -for of 1s or more and no arguments")
		return 2
	}
	var met bool
	var err error
	if *deciding {
		met, err = decide(ctx, out, *source, *rounds)
	} else {
		met, err = idle(ctx, out, *ofitec, *data, *during)
	}
	if err != nil {
		fmt.Fprintln(problems, "failover:", err)
		return 1
	}
	if !met {
		return 1
	}
	return 0
}
