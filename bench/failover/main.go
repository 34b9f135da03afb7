// Command failover measures what a failover takes and what waiting for one costs.
//
// Usage: go run ./failover [-rounds N] [-only switchover,kill,black-hole] moves the writes of a stack of its own, as root; half a minute a round of the first, a minute of the
// others, and until the gates are green before each. -decide and -idle measure the arbiter's own cost: [-rounds N] [-for D] [-ofitec PROGRAM -data FOLDER]. It ends with status 1 when a target is missed, 2 when it was called wrongly.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	rounds := flags.Int("rounds", 0, "how often each is measured (default 20, with -decide 5)")
	only := flags.String("only", "switchover,kill,black-hole", "how the writes move")
	during := flags.Duration("for", time.Minute, "how long -idle watches")
	ofitec := flags.String("ofitec", "../bin/ofitec", "the operator's program")
	data := flags.String("data", "../.ofitec", "the stack's folder, for -idle")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	moving := strings.Split(*only, ",")
	known := !slices.ContainsFunc(moving, func(name string) bool {
		return !slices.ContainsFunc(variants, func(v variant) bool { return v.name == name })
	})
	if *deciding && *idling || *rounds < 0 || *during < time.Second || flags.NArg() > 0 || !known {
		fmt.Fprintln(problems, "failover: want at most one of -decide and -idle, -rounds of 1 or more, -for of 1s or more, -only of switchover, kill, black-hole, and no arguments")
		return 2
	}
	var met bool
	var err error
	switch {
	case *deciding:
		met, err = decide(ctx, out, *source, cmp.Or(*rounds, 5))
	case *idling:
		met, err = idle(ctx, out, *ofitec, *data, *during)
	default:
		met, err = move(ctx, out, problems, *ofitec, cmp.Or(*rounds, 20), moving)
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

// move measures on a stack in a folder of its own, which is kept when something went wrong.
func move(ctx context.Context, out, say io.Writer, ofitec string, rounds int, only []string) (met bool, err error) {
	program, err := filepath.Abs(ofitec)
	if err != nil {
		return false, fmt.Errorf("find %s: %w", ofitec, err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "ofitec-bench-")
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // the database's user must pass through it
	}
	if err != nil {
		return false, fmt.Errorf("make the stack's folder: %w", err)
	}
	machine(ctx, out)
	met, err = losses{ofitec: program, data: filepath.Join(dir, "state"), rounds: rounds, only: only, out: out, say: say}.run(ctx)
	if err != nil {
		return false, fmt.Errorf("%w; the stack's folder is kept: %s", err, dir)
	}
	return met, os.RemoveAll(dir)
}

// machine says on what is measured.
func machine(ctx context.Context, out io.Writer) {
	load, _ := os.ReadFile("/proc/loadavg")
	commit, _ := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output()
	fmt.Fprintf(out, "%s, commit %s, %d cores, %s, load %s\n", time.Now().UTC().Format("2006-01-02 15:04"), strings.TrimSpace(string(commit)), runtime.NumCPU(), runtime.Version(), strings.TrimSpace(string(load)))
}
