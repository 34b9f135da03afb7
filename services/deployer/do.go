package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
	"github.com/ofitec/ofitec/services/deployer/internal/vault"
)

// do carries one action out. Each may have been done before, wholly or in part, by this or another process.
func (t *term) do(ctx context.Context, k *track, action rollout.Action) (rollout.Outcome, error) {
	switch a := action.(type) {
	case rollout.Render:
		return t.render(ctx, k, a)
	case rollout.Start:
		if err := t.cold(ctx, a.Colour); err != nil {
			return nil, err
		}
		if err := t.hands.Restart(ctx, a.Colour); err != nil {
			return nil, err
		}
		return rollout.Started{Number: a.Number}, nil
	case rollout.Try:
		alive, ready, reason := t.colours.Ready(ctx, a.Colour)
		role, _ := t.arbiter.Role(ctx)
		return rollout.Answered{Number: a.Number, Alive: alive, Ready: ready, Standby: role == rollout.Standby, Reason: reason}, nil
	case rollout.Look:
		k.looked = time.Now()
		reading := rollout.Judge(t.sight(ctx, a), t.policy.Limits)
		t.metrics.readings.WithLabelValues(string(reading.Verdict)).Inc()
		t.log.InfoContext(ctx, "reading", "credential", k.Name, "number", a.Number, "colour", a.Colour, "verdict", reading.Verdict, "reason", reading.Reason)
		return rollout.Read{Number: a.Number, Reading: reading}, nil
	case rollout.Switch:
		if err := t.proxy.Give(ctx, a.To, a.Percent); err != nil {
			return nil, err
		}
		return rollout.Switched{Number: a.Number, Percent: a.Percent}, nil
	case rollout.Drain:
		if err := t.proxy.Give(ctx, a.Hot, 100); err != nil {
			return nil, err
		}
		traffic, err := t.proxy.Traffic(ctx)
		if err != nil {
			return nil, err
		}
		return rollout.Drained{Number: a.Number, Open: traffic.Open}, nil
	case rollout.Settle:
		return t.settle(ctx, k, a)
	}
	return nil, fmt.Errorf("do %T: nobody knows how", action)
}

// render reads the version with this service's own identity and writes it into the canary's file. What others have brought to the colour with traffic comes along.
func (t *term) render(ctx context.Context, k *track, a rollout.Render) (rollout.Outcome, error) {
	if err := t.cold(ctx, a.Colour); err != nil {
		return nil, err
	}
	if kind := k.seen.Content.Method; kind != k.Kind {
		reason := fmt.Sprintf("credential %s is of kind %q: want %s, as which this deployer's configuration has it", k.Name, kind, k.Kind)
		return rollout.Refused{Number: a.Number, Step: "render", Reason: reason}, nil
	}
	if reason := t.gates.Broken(ctx); reason != "" {
		return rollout.Refused{Number: a.Number, Step: "gate", Reason: reason}, nil
	}
	version, err := t.vault.Read(ctx, a.Path, a.Number, k.fields()...)
	if errors.Is(err, vault.ErrGone) {
		return rollout.Refused{Number: a.Number, Step: "render", Reason: err.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	if err = t.oneFile.keep(k.seen.Content); err == nil {
		edit := k.edit(version, t.others(k))
		edit.Old = t.oldCompose
		err = t.hands.Write(ctx, a.Colour, edit)
	}
	var refused *dotenv.Refused
	if errors.As(err, &refused) {
		return rollout.Refused{Number: a.Number, Step: "render", Reason: refused.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	return rollout.Rendered{Number: a.Number}, nil
}

// others are the keys of all other credentials. Where both colours read one file they stay as they are there.
func (t *term) others(k *track) (keys []string) {
	if t.oneFile != "" {
		return nil
	}
	for _, other := range t.tracks {
		if other != k {
			keys = append(keys, other.keys()...)
		}
	}
	return keys
}

// settle gives the colour without traffic what the other one runs on. It waits for no answer: nobody depends on it until the next rollout asks.
func (t *term) settle(ctx context.Context, k *track, a rollout.Settle) (rollout.Outcome, error) {
	if err := t.cold(ctx, a.Cold); err != nil {
		return nil, err
	}
	if err := t.align(ctx, k, a); err != nil {
		return nil, err
	}
	if err := t.hands.Restart(ctx, a.Cold); err != nil {
		return nil, err
	}
	return rollout.Settled{Number: a.Number}, nil
}

// cold is the last look before a colour is touched: it must have no traffic now.
func (t *term) cold(ctx context.Context, colour state.Colour) error {
	traffic, err := t.proxy.Traffic(ctx)
	if err != nil {
		return err
	}
	if share := traffic.Of(colour); share > 0 {
		return fmt.Errorf("%s has %d %% of the traffic: it is not touched", colour, share)
	}
	return nil
}

// sight is one look at the canary, and at the colour with traffic as a control.
func (t *term) sight(ctx context.Context, a rollout.Look) rollout.Sight {
	var s rollout.Sight
	s.Role, s.RoleProblem = t.arbiter.Role(ctx)
	s.Probed = t.colours.Probe(ctx, a.Colour, a.Number, s.Role == rollout.Active)
	s.ControlSeen = t.colours.Probe(ctx, rollout.Other(a.Colour), a.Number, false)
	s.Canary = t.gates.Figures(ctx, a.Colour, a.Span)
	s.Control = t.gates.Figures(ctx, rollout.Other(a.Colour), a.Span)
	if s.Role == rollout.Active {
		// A region that lost the mandate while it was asked to write has not shown anything about the credential.
		if again, problem := t.arbiter.Role(ctx); again != s.Role {
			s.Role, s.RoleProblem, s.Probed.Failed = rollout.Between, "it has just changed: "+problem, 0
		}
	}
	return s
}
