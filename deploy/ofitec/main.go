// Command ofitec is the operator's command: it runs the local stack and asks the running system.
// Exit status: 0 done, 1 failed, 2 wrong use.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/chassis/buildinfo"
	"github.com/ofitec/ofitec/deploy/local"
)

const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// wrongUse marks what cobra finds wrong with a command line, so that it exits with 2 like other wrong use.
type wrongUse struct{ error }

func (w wrongUse) Unwrap() error { return w.error }

func run(ctx context.Context, args []string) int {
	root := newRoot() //nolint:contextcheck // commands take theirs from ExecuteContext
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var silent *failed
	if !errors.As(err, &silent) {
		fmt.Fprintln(os.Stderr, "ofitec:", err)
	}
	var usage *local.UsageError
	var wrong wrongUse
	if errors.As(err, &usage) || errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}

// failed is a failure that the command's own output has told already.
type failed struct{}

func (*failed) Error() string { return "failed" }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "ofitec",
		Short:         "Run and operate OFITEC's regions",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildinfo.Get().Version,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return wrongUse{fmt.Errorf("unknown command %q; ofitec --help lists the commands", args[0])}
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrongUse{err} })
	root.PersistentFlags().String("data", ".ofitec", "folder of all state")
	root.AddCommand(newUp(), newDown(), newSetup(), newStatus(), newDoctor(), newEvents(), newCredentials(), newFailover(), newDrill(), newETL(), newVault(), newConsole())
	for _, command := range root.Commands() {
		refuseArguments(command)
	}
	return root
}

// refuseArguments makes wrong arguments wrong use; cobra's own error would exit with 1.
func refuseArguments(command *cobra.Command) {
	inner := command.Args
	if inner == nil {
		inner = cobra.NoArgs
	}
	command.Args = func(cmd *cobra.Command, args []string) error {
		if err := inner(cmd, args); err != nil {
			return wrongUse{fmt.Errorf("%s: %w; it is used as: %s", cmd.CommandPath(), err, strings.TrimSuffix(cmd.UseLine(), " [flags]"))}
		}
		return nil
	}
	for _, sub := range command.Commands() {
		refuseArguments(sub)
	}
}

// dataFolder is the value of --data.
func dataFolder(cmd *cobra.Command) string {
	data, _ := cmd.Flags().GetString("data")
	return data
}

// outputFlag adds -o to a reading command.
func outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "text", "text or json")
}

// asJSON reads -o; anything but text and json is wrong use.
func asJSON(cmd *cobra.Command) (bool, error) {
	switch output, _ := cmd.Flags().GetString("output"); output {
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, wrongUse{fmt.Errorf("-o %q: must be text or json", output)}
	}
}
