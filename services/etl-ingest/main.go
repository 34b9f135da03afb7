// Command etl-ingest turns Odoo's exports into immutable raw files and export-ready events.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "etl-ingest"

func main() {
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
