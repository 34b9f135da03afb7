// Command deployer brings credentials to Odoo: render, canary, gate, switch, roll back.
package main

import (
	"context"
	"os"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "deployer"

func main() {
	os.Exit(chassis.Main(name, run, chassis.ConfigReference(NewConfig(), chassis.EarlierNames...)))
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "render" {
		return render(args[1:], os.Stdin)
	}
	if err := chassis.NoArguments(args); err != nil {
		return err
	}
	c := NewConfig()
	if err := config.Load(c, chassis.EarlierNames...); err != nil {
		return err
	}
	return serve(ctx, c)
}
