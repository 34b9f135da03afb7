// Command odoo stands in for Odoo in the local stack: it works on its region's PostgreSQL with the credentials in its .env, as
// Odoo does, and serves what the rest of the system asks Odoo for. See README.md for the contract of its export.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() { os.Exit(realMain(os.Args[1:])) }

// realMain gives the exit status: 0 stopped, 1 failed, 2 wrong use.
func realMain(args []string) int {
	file, status, ok := parseFlags(args)
	if !ok {
		return status
	}
	// The file is the only configuration: PG* variables of whoever starts this must not steer the driver.
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
	s, err := load(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel})).With("service", "odoo", "region", s.Region, "colour", s.Colour)
	for _, name := range s.Unknown {
		log.Warn("line of the environment file means nothing here", "key", name)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, s, log); err != nil {
		log.Error("stopped", "error", err)
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func parseFlags(args []string) (file string, status int, ok bool) {
	flags := flag.NewFlagSet("odoo-standin", flag.ContinueOnError)
	flags.StringVar(&file, "env", "", "environment `file`, the only configuration (required)")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return "", 0, false
	case err != nil:
		return "", 2, false
	case file == "" || flags.NArg() > 0:
		fmt.Fprintln(os.Stderr, "usage: odoo-standin --env FILE")
		return "", 2, false
	}
	return file, 0, true
}
