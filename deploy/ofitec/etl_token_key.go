package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// keyRotation is what etl-transform says of a region's.
type keyRotation struct {
	Region  layout.Region `json:"region"`
	From    string        `json:"from"`
	To      string        `json:"to"`
	Record  int64         `json:"manifest_sequence,omitempty"`
	Removed []string      `json:"removed"`
}

func newETLRotateKey() *cobra.Command {
	var reason string
	var within time.Duration
	command := &cobra.Command{
		Use: "rotate-key", Short: "Make all tokens of personal data anew by a new key, in both regions, and remove what has those of before",
		Long: "Make all tokens of personal data anew by a new key, in both regions, and remove what has those of before.\n\nEach region's warehouse is made anew from the raw files beside the one that serves, which it then replaces; " +
			"copies for readers and the published marts follow. The intent stands in the manifest first. Cut off at any point, the same command goes on.",
		Example: "  ofitec etl rotate-key --reason \"yearly\"",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(reason) == "" {
				return wrongUse{errors.New("--reason: say why; it stands in the manifest")}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				ctx, cancel := context.WithTimeout(ctx, within)
				defer cancel()
				done, err := rotateKey(ctx, cmd, o, reason)
				if inJSON && err == nil {
					return writeJSON(cmd.OutOrStdout(), done)
				}
				return err
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why; it stands in the manifest")
	command.Flags().DurationVar(&within, "within", 30*time.Minute, "how long it may take")
	outputFlag(command)
	return command
}

// rotateKey leads every region to the next key and then puts it in the place of the one before.
func rotateKey(ctx context.Context, cmd *cobra.Command, o *operator, reason string) ([]keyRotation, error) {
	progress := cmd.OutOrStdout()
	if inJSON, _ := cmd.Flags().GetString("output"); inJSON == "json" {
		progress = io.Discard
	}
	if err := local.PrepareTokenKey(o.layout); err != nil {
		return nil, err
	}
	active, err := o.activeRegion(ctx)
	if err != nil {
		return nil, err
	}
	by := act(reason, time.Now())
	var all []keyRotation
	for _, r := range layout.DataRegions {
		var out bytes.Buffer
		if err := (warehouseCommand{name: "rotate-key"}).run(ctx, o, r, &out, cmd.ErrOrStderr(), "-o=json", "--actor="+by.Actor, "--reason="+by.Reason); err != nil {
			return all, fmt.Errorf("region %s is not led to the next key; the same command goes on: %w", r, err)
		}
		one := keyRotation{Region: r}
		if err := json.Unmarshal(out.Bytes(), &one); err != nil {
			return all, fmt.Errorf("read the answer of etl-transform of region %s: %w", r, err)
		}
		all = append(all, one)
		_, _ = fmt.Fprintf(progress, "region %s: all tokens are by key %s, before by %s; %d files with those of before are removed\n", r, one.To, one.From, len(one.Removed))
		if r == active {
			if err := o.awaitPublished(ctx, r, one.To); err != nil {
				return all, err
			}
			_, _ = fmt.Fprintf(progress, "readers see them\n")
		}
	}
	if err := local.PromoteTokenKey(ctx, o.layout, o.tls.Client()); err != nil {
		return all, fmt.Errorf("put the next key in its place; the same command goes on: %w", err)
	}
	_, _ = fmt.Fprintln(progress, "the new key is the only one")
	return all, nil
}

// awaitPublished waits until what readers see was published by a warehouse of that token key.
func (o *operator) awaitPublished(ctx context.Context, r layout.Region, key string) error {
	for {
		var s struct {
			TokenKey  string `json:"token_key"`
			Published int64  `json:"published_load"`
			Failure   string `json:"failure"`
		}
		body, err := o.warehouse(ctx, r)
		if err == nil {
			err = json.Unmarshal(body, &s)
		}
		if err == nil && s.TokenKey == key && s.Published > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the marts of region %s are not published by the new key: %s: %w", r, s.Failure, errors.Join(ctx.Err(), err))
		case <-time.After(time.Second):
		}
	}
}
