// Command rotation measures what a rotation takes beside the window in which its canary is watched.
//
// Usage: go run ./rotation [-rounds N] [-ofitec PROGRAM] [-data FOLDER], while the local stack is up; or go run ./rotation -many [-span 3m], which starts servers of its
// own and measures two hundred credentials of a minute under one rotator. It ends with status 1 when the target is missed, 2 when it was called
// wrongly.
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
	flags := flag.NewFlagSet("rotation", flag.ContinueOnError)
	flags.SetOutput(problems)
	rounds := flags.Int("rounds", 5, "rotations")
	ofitec := flags.String("ofitec", "../bin/ofitec", "the operator's program")
	data := flags.String("data", "../.ofitec", "the stack's folder")
	manyAtOnce := flags.Bool("many", false, "measure two hundred credentials under one rotator instead, without the stack")
	span := flags.Duration("span", 3*time.Minute, "how long -many measures")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *span < 10*time.Second {
		fmt.Fprintln(problems, "rotation: want -span of 10s or more")
		return 2
	}
	if *rounds < 1 || flags.NArg() > 0 {
		fmt.Fprintln(problems, "rotation: want -rounds of 1 or more and no arguments")
		return 2
	}
	var met bool
	var err error
	if *manyAtOnce {
		met, err = many(ctx, out, *span)
	} else {
		met, err = rollouts(ctx, out, operator{*ofitec, *data}, *rounds)
	}
	if err != nil {
		fmt.Fprintln(problems, "rotation:", err)
		return 1
	}
	if !met {
		return 1
	}
	return 0
}
