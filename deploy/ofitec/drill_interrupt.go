package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// undisturbed lets a command come to its end by itself, which takes back what it has done: a terminal that is closed interrupts it as Ctrl-C does, and what it says to
// nobody does not kill it. Ctrl-C ends "| tee", too, and the next line would.
func undisturbed(cmd *cobra.Command, _ []string) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if signal.Ignored(syscall.SIGHUP) {
		return // nohup
	}
	closed := make(chan os.Signal, 1)
	signal.Notify(closed, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(cmd.Context())
	cmd.SetContext(ctx)
	go func() {
		<-closed
		cancel()
	}()
}
