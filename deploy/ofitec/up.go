package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/control"
)

func newUp() *cobra.Command {
	var options local.Options
	command := &cobra.Command{
		Use:   "up",
		Short: "Start the three-region stack in the foreground; Ctrl-C stops all of it",
		Long: `Start the three regions, each component a process of its own, and keep them running until Ctrl-C.
What is missing is set up first: Debian packages (as root), servers that no package has (built once into a cache).
A second start goes on where the first one was.`,
		PreRun: undisturbed,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options.Data, options.Out = dataFolder(cmd), cmd.OutOrStdout()
			return local.Up(cmd.Context(), options)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&options.Namespaces, "netns", false, "give each region a network namespace of its own (root)")
	flags.BoolVar(&options.Disks, "disks", false, "give each region a disk of its own, an image in the data folder, for drills that fill it or slow it down (root)")
	flags.BoolVar(&options.CommitWitness, "commit-witness", false, "no commit is acknowledged that the region's arbiter has not confirmed under the mandate")
	flags.BoolVar(&options.Strict, "strict", false, "in synchronous mode, writes wait until a standby is back instead of going on without it")
	flags.StringToStringVar(&options.Addresses, "address", nil, "other addresses for the regions, such as a=127.0.1.11,b=127.0.1.12,c=127.0.1.13")
	flags.DurationVar(&options.GateWindow, "gate-window", 0, "range over which the gates' rates are taken (default 30s; production has 5m)")
	flags.StringToStringVar(&options.Odoo, "odoo", nil, "settings of the Odoo stand-in for a new data folder, such as ODOO_LONG_TRANSACTION=5s")
	flags.BoolVar(&options.WithoutVault, "without-vault", false, "leave Vault out; what needs it stays not ready")
	return command
}

func newDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Stop the stack that runs on the data folder",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := local.Open(dataFolder(cmd))
			if err != nil {
				return err
			}
			client := control.NewClient(l.ControlSocket())
			if err := client.Down(cmd.Context()); err != nil {
				return fmt.Errorf("stop the stack on %s: %w", l.Root, err)
			}
			for !local.Stopped(l) {
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(200 * time.Millisecond):
				}
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), "stopped")
			return nil
		},
	}
}

func newSetup() *cobra.Command {
	return &cobra.Command{
		Use:   "setup",
		Short: "Install and build what the stack needs and is missing, and start nothing",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return local.Setup(cmd.Context(), func(format string, args ...any) {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
			})
		},
	}
}
