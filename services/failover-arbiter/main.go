// Command failover-arbiter is the brain and the hands of a region: the mandate, the fence, and, with them, who may write.
package main

import (
	"context"
	"os"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "failover-arbiter"

func main() {
	os.Exit(chassis.Main(name, run, chassis.ConfigReference(NewConfig(), chassis.EarlierNames...)))
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && analyses[args[0]] != nil {
		return analyses[args[0]](args[1:], os.Stdin, os.Stdout)
	}
	if err := chassis.NoArguments(args); err != nil {
		return err
	}
	c := NewConfig()
	if err := config.Load(c, chassis.EarlierNames...); err != nil {
		return err
	}
	thrifty()
	return serve(ctx, c)
}
