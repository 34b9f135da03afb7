package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
)

// linkWithin is how long the console may take to make another link.
const linkWithin = 5 * time.Second

func newConsole() *cobra.Command {
	return &cobra.Command{
		Use:   "console",
		Short: "Print a fresh one-time link to the console's page",
		Long: `Print a fresh link to the console's page. It opens the page once, in one browser; a link that was printed before and not used opens nothing any more.
Sessions that are open stay open.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := local.Open(dataFolder(cmd))
			if err != nil {
				return err
			}
			link, err := freshLink(cmd.Context(), l.ConsoleLinkFile())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), link)
			return err
		},
	}
}

// freshLink takes the link's file away, which tells the console to make another, and waits for it.
func freshLink(ctx context.Context, file string) (string, error) {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("ask for a fresh link: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, linkWithin)
	defer cancel()
	for {
		content, err := os.ReadFile(file)
		if err == nil {
			return strings.TrimSpace(string(content)), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read the fresh link: %w", err)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("no link in %s after %s: the console does not run; ofitec status says why", file, linkWithin)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
