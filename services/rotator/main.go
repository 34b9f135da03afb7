// Command rotator obtains, publishes by reference, renews and revokes credentials.
package main

import (
	"context"
	"os"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
)

// name is the service's name in identities, subjects, metrics and logs.
const name = "rotator"

func main() {
	os.Exit(chassis.Main(name, run, chassis.ConfigReference(NewConfig(), chassis.EarlierNames...)))
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "credential-process" {
		return credentialProcess(ctx, args[1:], os.Stdout)
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
