// Command etl-ingest turns Odoo's exports into immutable raw files and export-ready events.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

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

// arguments reads --once, and --max-connections N, which goes before OFITEC_EXPORT_CONNECTIONS; 0 when it is not given.
func arguments(args []string) (single bool, connections int, err error) {
	for n := 0; n < len(args); n++ {
		value, has := "", false
		switch name, inline, joined := strings.Cut(args[n], "="); {
		case args[n] == "--once":
			single = true
			continue
		case name != "--max-connections":
			return false, 0, &chassis.UsageError{Reason: fmt.Sprintf("unknown argument %q: want none, --once, --max-connections N, version or config-reference", args[n])}
		case joined:
			value, has = inline, true
		case n+1 < len(args):
			n++
			value, has = args[n], true
		}
		connections, err = strconv.Atoi(value)
		if !has || err != nil || connections < 1 {
			return false, 0, &chassis.UsageError{Reason: fmt.Sprintf("--max-connections %q: want a number, 1 or more", value)}
		}
	}
	return single, connections, nil
}

func run(ctx context.Context, args []string) error {
	single, connections, err := arguments(args)
	if err != nil {
		return err
	}
	c := NewConfig()
	if err := config.Load(c, chassis.EarlierNames...); err != nil {
		return err
	}
	if connections > 0 {
		c.Export.Connections = connections
	}
	if err := c.awaitKey(ctx, single); err != nil || ctx.Err() != nil {
		return err
	}
	if single {
		return once(ctx, c, os.Stdout)
	}
	return serve(ctx, c)
}
