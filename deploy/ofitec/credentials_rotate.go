package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// rotation is one `credentials rotate`.
type rotation struct {
	name   string
	act    events.Act
	wait   bool
	within time.Duration
}

// rotationOutcome is the printed result.
type rotationOutcome struct {
	Name    string     `json:"name"`
	Act     events.Act `json:"act"`
	Job     uint64     `json:"job_sequence"` // in JOBS
	Version int64      `json:"version,omitempty"`
	Done    bool       `json:"done"` // false also when it was not waited for
	Course  []string   `json:"course,omitempty"`
	Error   string     `json:"error,omitempty"`
}

func (r rotation) carryOut(ctx context.Context, cmd *cobra.Command, o *operator, inJSON bool) error {
	all, err := o.credentials(ctx)
	if err != nil {
		return err
	}
	if _, err := all.find(r.name); err != nil {
		return err
	}
	receipt, err := o.ask(ctx, events.JobRotate{Name: r.name, Act: r.act}, r.act.At)
	if err != nil {
		return err
	}
	result := rotationOutcome{Name: r.name, Act: r.act, Job: receipt.Sequence}
	progress := cmd.OutOrStdout()
	if inJSON {
		progress = io.Discard
	}
	_, _ = fmt.Fprintf(progress, "asked for a rotation of %s as request %s\n", r.name, r.act.Request)
	if r.wait {
		err = r.follow(ctx, o, progress, &result)
	}
	if !inJSON {
		return err
	}
	if err != nil {
		result.Error = err.Error()
	}
	if printing := writeJSON(cmd.OutOrStdout(), result); printing != nil {
		return printing
	}
	if err != nil {
		return &failed{}
	}
	return nil
}

// follow reads the credential until the rotation has ended, and tells each step once.
func (r rotation) follow(ctx context.Context, o *operator, progress io.Writer, result *rotationOutcome) error {
	client, err := o.etcd(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	told := map[string]bool{}
	for {
		var now rotationStep
		all, err := readCredentials(ctx, client)
		if err == nil {
			one, lookErr := all.find(r.name)
			if lookErr != nil {
				return lookErr
			}
			now = stepOf(one, r.act)
			result.Version = now.version
		}
		for _, line := range now.lines {
			if told[line] {
				continue
			}
			told[line] = true
			result.Course = append(result.Course, line)
			_, _ = fmt.Fprintf(progress, "%7.1f s  %s\n", time.Since(r.act.At).Seconds(), line)
		}
		if now.ended {
			result.Done = now.failure == ""
			if now.failure != "" {
				return fmt.Errorf("rotate %s: %s", r.name, now.failure)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("rotate %s: not ended within %s: %w", r.name, r.within, err)
			}
			return fmt.Errorf("rotate %s: not ended within %s; it goes on, and ofitec credentials show %s says how far it is", r.name, r.within, r.name)
		case <-time.After(2 * pollEvery):
		}
	}
}

// rotationStep is how far a rotation has come.
type rotationStep struct {
	version int64
	lines   []string // what has happened so far, in order
	ended   bool
	failure string // why the version is not in use everywhere
}

// stepOf says how far the version is that grants the act: the one that names it, or a later wish's when that one has taken its place. A version that was lost with
// its maker is followed by another.
func stepOf(one rotated, act events.Act) rotationStep {
	var mine *state.CredentialVersion
	for i, v := range one.Versions {
		if v.Act != nil && (v.Act.Request == act.Request || v.MintedAt.After(act.At) && !v.Act.At.Before(act.At)) {
			mine = &one.Versions[i]
		}
	}
	if mine == nil {
		return rotationStep{}
	}
	step := rotationStep{version: mine.Number, lines: []string{fmt.Sprintf("version %d is made: user %s", mine.Number, mine.User)}}
	say := func(format string, args ...any) { step.lines = append(step.lines, fmt.Sprintf(format, args...)) }
	switch mine.Stage {
	case state.StageMinted:
		return step
	case state.StageRejected:
		say("version %d did not pass its test: %s", mine.Number, mine.Reason)
		return step
	}
	if mine.Stage == state.StageRevoked && len(mine.Deployed) == 0 && mine.Cause != "superseded" {
		say("version %d is revoked: %s", mine.Number, mine.Reason)
		if mine.Cause != "lost" { // else another is made
			step.ended, step.failure = true, fmt.Sprintf("version %d was %s: %s", mine.Number, mine.Cause, mine.Reason)
		}
		return step
	}
	say("version %d is tested", mine.Number)
	if mine.Stage == state.StageTested {
		return step
	}
	say("version %d is staged and published", mine.Number)
	waiting := step.regions(one, *mine, say)
	step.conclude(one, *mine, waiting, say)
	return step
}

// regions tells what each region has done with the version, and which have not ended yet.
func (s *rotationStep) regions(one rotated, v state.CredentialVersion, say func(string, ...any)) (waiting []events.Region) {
	if len(v.Asked) == 0 && len(v.Deployed) == 0 && v.Stage != state.StageStaged && v.Stage != state.StageCanary {
		return nil // no deployer takes it: whoever reads KV v2 has it
	}
	for _, region := range events.DataRegions {
		if rollout, ok := one.rollouts[region]; ok && rollout.Number == v.Number && rollout.Phase != state.DeploymentDone && rollout.Phase != state.DeploymentRolledBack {
			say("region %s: %s", region, phaseText(rollout))
		}
		switch {
		case slices.Contains(v.Deployed, region):
			say("region %s: in use", region)
		case slices.Contains(v.RolledBack, region):
			say("region %s: rolled back", region)
		case v.Stage == state.StageRolledBack && len(v.Asked) > 0 && !slices.Contains(v.Asked, region):
			say("region %s: not asked", region)
		default:
			waiting = append(waiting, region)
		}
	}
	return waiting
}

// conclude says whether the rotation has ended, and how.
func (s *rotationStep) conclude(one rotated, v state.CredentialVersion, waiting []events.Region, say func(string, ...any)) {
	switch {
	case v.Stage == state.StageRolledBack:
		say("version %d is rolled back: %s", v.Number, v.Reason)
		if len(waiting) == 0 || len(v.Deployed) > 0 {
			s.ended, s.failure = len(waiting) == 0, fmt.Sprintf("version %d was rolled back: %s", v.Number, v.Reason)
		}
	case v.Stage == state.StageRevoked && v.Cause != "superseded":
		s.ended, s.failure = true, fmt.Sprintf("version %d was %s: %s", v.Number, v.Cause, v.Reason)
	case len(waiting) > 0:
	case len(v.RolledBack) > 0:
		s.ended, s.failure = true, fmt.Sprintf("region %s has rolled version %d back and keeps the one before: %s", names(v.RolledBack), v.Number, v.Reason)
	default:
		old := 0
		for _, other := range one.Versions {
			switch {
			case other.Number >= v.Number:
			case other.Stage != state.StageRevoked:
				old++
				say("version %d is %s", other.Number, other.Stage)
			case other.Number == v.Previous:
				say("version %d is revoked", other.Number)
			}
		}
		s.ended = old == 0 || one.Method == events.CredentialSTS // which ends when it expires
	}
}

func phaseText(d state.Deployment) string {
	text := string(d.Phase)
	if d.Colour != "" {
		text += " on " + string(d.Colour)
	}
	return text
}
