// Command etl-transform loads export-ready events into the DuckDB warehouse, checks and publishes the marts. Its subcommands rebuild, verify and explain a warehouse.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "etl-transform"

func main() {
	os.Exit(chassis.Main(name, run, chassis.ConfigReference(NewConfig(), chassis.EarlierNames...)))
}

func run(ctx context.Context, args []string) error { return duckdb.Told(carryOut(ctx, args)) }

func carryOut(ctx context.Context, args []string) error {
	syscall.Umask(0o077) // the warehouse is for its own user
	if len(args) == 0 {
		return keepServing(ctx)
	}
	if args[0] == "--once" && len(args) == 1 {
		c, err := configured(false)
		if err != nil {
			return err
		}
		return onceWithout(ctx, c, os.Stdout)
	}
	command, known := commands[args[0]]
	if !known {
		return &chassis.UsageError{Reason: fmt.Sprintf("unknown argument %q: want none, --once, version, config-reference or one of %s", args[0], strings.Join(commandNames(), ", "))}
	}
	c, err := configured(!command.speaks)
	if err != nil {
		return err
	}
	return command.run(ctx, c, args[1:], os.Stdout)
}

// configured reads the configuration; without the bus it is one of a command that asks files alone.
func configured(withoutBus bool) (*Config, error) {
	c := NewConfig()
	c.withoutBus = withoutBus
	return c, config.Load(c, chassis.EarlierNames...)
}

func commandNames() []string {
	var names []string
	for name := range commands {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
