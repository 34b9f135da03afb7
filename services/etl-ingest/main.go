// Command etl-ingest turns Odoo's exports into immutable raw files and export-ready events.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "etl-ingest"

// collectAt is how much garbage, in percent of what is in use, is let lie. Memory is bounded, rather than a little time saved: little is made that has to be collected.
const collectAt = 40

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	os.Exit(chassis.Main(name, run, chassis.ConfigReference(NewConfig(), chassis.EarlierNames...)))
}

func run(ctx context.Context, args []string) error {
	single := len(args) == 1 && args[0] == "--once"
	if !single && len(args) > 0 {
		return &chassis.UsageError{Reason: fmt.Sprintf("unknown argument %q: want none, --once, version or config-reference", args[0])}
	}
	c := NewConfig()
	if err := config.Load(c, chassis.EarlierNames...); err != nil {
		return err
	}
	if single {
		return once(ctx, c, os.Stdout)
	}
	return serve(ctx, c)
}
