// Package chassis is what every service stands on: the process's life, configuration, log, metrics, health, traces and
// identity. It knows nothing of regions' failover, credentials or warehouses.
package chassis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/ofitec/ofitec/chassis/buildinfo"
	"github.com/ofitec/ofitec/chassis/config"
)

// The exit statuses of every program of the project.
const (
	exitDone     = 0
	exitFailed   = 1
	exitWrongUse = 2
)

// UsageError is a wrong command line; the process exits with status 2.
type UsageError struct{ Reason string }

func (e *UsageError) Error() string { return e.Reason }

// NoArguments is the UsageError of a service that takes none, or nil.
func NoArguments(args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &UsageError{Reason: fmt.Sprintf("unknown argument %q: want none, version or config-reference", args[0])}
}

// Option adds to Main.
type Option func(*program)

// ConfigReference gives the subcommand config-reference its content: target is a pointer to the service's Config with its defaults.
func ConfigReference(target any, aliases ...config.Alias) Option {
	return func(p *program) { p.reference = func() string { return config.Reference(target, aliases...) } }
}

type program struct {
	name      string
	reference func() string
}

// Main runs a service and returns the process's exit status: 0 done, or stopped by SIGTERM or SIGINT; 1 failed; 2 wrong use (a
// *config.Error or a *UsageError). The context ends with the first of these signals; a second one kills the process. The
// subcommand version prints the build, config-reference (with the option of that name) the variables; all else goes to run.
func Main(name string, run func(ctx context.Context, args []string) error, options ...Option) int {
	p := program{name: name}
	for _, option := range options {
		option(&p)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // from here on a signal has its usual effect again
	slog.SetDefault(newLogger(os.Stderr, name, os.Getenv("OFITEC_REGION"), slog.LevelInfo))
	return p.main(ctx, os.Args[1:], run)
}

func (p program) main(ctx context.Context, args []string, run func(context.Context, []string) error) int {
	if len(args) == 1 && args[0] == "version" {
		fmt.Println(p.name, buildinfo.Get())
		return exitDone
	}
	if len(args) == 1 && args[0] == "config-reference" && p.reference != nil {
		fmt.Print(p.reference())
		return exitDone
	}
	err := run(ctx, args)
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return exitDone
	}
	var wrongConfig *config.Error
	var wrongUsage *UsageError
	switch {
	case errors.As(err, &wrongConfig):
		for _, problem := range wrongConfig.Problems {
			fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, problem)
		}
		return exitWrongUse
	case errors.As(err, &wrongUsage):
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.name, wrongUsage)
		return exitWrongUse
	}
	slog.Error("service failed", "error", err)
	return exitFailed
}
