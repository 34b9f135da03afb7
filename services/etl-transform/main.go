// Command etl-transform loads export-ready events into the DuckDB warehouse, checks and publishes the marts.
package main

import (
	"context"
	"os"
	"syscall"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "etl-transform"

func main() {
	os.Exit(chassis.Main(name, run, chassis.ConfigReference(NewConfig(), chassis.EarlierNames...)))
}

func run(ctx context.Context, args []string) error {
	syscall.Umask(0o077) // the warehouse is for its own user
	single := len(args) == 1 && args[0] == "--once"
	if err := chassis.NoArguments(args); err != nil && !single {
		return err
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
