package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// restoreReport is how a region came back.
type restoreReport struct {
	Region  layout.Region     `json:"region"`
	Role    string            `json:"role"`
	Seconds float64           `json:"seconds"`
	Steps   []restoreStepTime `json:"steps"`
}

type restoreStepTime struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

func newRestore() *cobra.Command {
	within := time.Duration(0)
	command := &cobra.Command{
		Use:   "restore REGION",
		Short: "Bring a lost region back: etcd member, bus, database as a standby, and the rest; waits until all is ready",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			if err := regionArgument(args[0]); err != nil {
				return err
			}
			o, client, err := running(cmd)
			if err != nil {
				return err
			}
			progress := cmd.OutOrStdout()
			if inJSON {
				progress = cmd.ErrOrStderr()
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), within)
			defer cancel()
			result, err := restoreRegion(ctx, o, client, layout.Region(args[0]), progress)
			if err != nil {
				return err
			}
			if inJSON {
				return writeJSON(cmd.OutOrStdout(), result)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "region %s is back after %.1f s: %s\n", result.Region, result.Seconds, result.Role)
			return err
		},
	}
	command.Flags().DurationVar(&within, "within", 20*time.Minute, "how long to wait; the restore itself goes on")
	outputFlag(command)
	return command
}

// restoreRegion asks for a restore, or joins one that is under way, and follows it to its end.
func restoreRegion(ctx context.Context, o *operator, client *control.Client, r layout.Region, progress io.Writer) (restoreReport, error) {
	status, err := client.Status(ctx)
	if err != nil {
		return restoreReport{}, err
	}
	loss, lost := status.Lost[string(r)]
	if !lost {
		return restoreReport{}, fmt.Errorf("region %s is not lost", r)
	}
	if loss.Restoring == "" {
		if err := client.RestoreRegion(ctx, string(r)); err != nil {
			return restoreReport{}, err
		}
	}
	steps := restoreSteps{began: time.Now(), since: time.Now()}
	for {
		status, err := client.Status(ctx)
		if err != nil && ctx.Err() == nil {
			return restoreReport{}, err
		}
		if err == nil {
			loss, lost = status.Lost[string(r)]
			if steps.enter(loss.Restoring, time.Now()) {
				_, _ = fmt.Fprintf(progress, "%s  region %s: %s\n", time.Now().Format("15:04:05"), r, loss.Restoring)
			}
			switch {
			case !lost:
				return restoreReport{Region: r, Role: o.region(ctx, r, status.Components).Role, Seconds: seconds(time.Since(steps.began)), Steps: steps.done}, nil
			case loss.Restoring == "" && loss.Failed != "":
				return restoreReport{}, errors.New("region " + string(r) + " is not restored: " + loss.Failed)
			}
		}
		if pause(ctx, 200*time.Millisecond); ctx.Err() != nil {
			return restoreReport{}, fmt.Errorf("region %s is not back yet (%s): %w; ask again to go on waiting", r, steps.said, ctx.Err())
		}
	}
}

// restoreSteps takes the time of a restore's steps as the stack tells of them.
type restoreSteps struct {
	began, since time.Time
	step, said   string
	done         []restoreStepTime
}

// enter takes what the stack says now, "<step>" or "<step>: <why it waits>"; true when it is worth printing.
func (s *restoreSteps) enter(said string, now time.Time) bool {
	if said == s.said {
		return false
	}
	s.said = said
	step, _, _ := strings.Cut(said, ":")
	if step != s.step {
		if s.step != "" {
			s.done = append(s.done, restoreStepTime{s.step, seconds(now.Sub(s.since))})
		}
		s.step, s.since = step, now
	}
	return said != ""
}

// lostWords say of a lost region what a reader of the status needs.
func lostWords(r layout.Region, loss control.Loss) string {
	text := "region " + string(r) + " is lost since " + loss.At.Local().Format(time.TimeOnly)
	if loss.BlackHole {
		text += ", cut off first"
	}
	if loss.Destroy {
		text += ", its folders removed"
	}
	switch {
	case loss.Restoring != "":
		return text + "; being restored: " + loss.Restoring
	case loss.Failed != "":
		return text + "; the last restore failed: " + loss.Failed
	}
	return text + "; bring it back with: ofitec drill restore " + string(r)
}
