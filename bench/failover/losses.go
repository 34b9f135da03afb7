package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// variant is one way in which the writes move.
type variant struct {
	name string
	args func(active, other string) []string // of `ofitec drill`
	lost bool                                // a region is dead afterwards and must be restored
}

// The planned ones come first: what the others do to the gates must be over before writes move again.
var variants = []variant{
	{"switchover", func(_, other string) []string { return []string{"switchover", other} }, false},
	{"kill", func(active, _ string) []string { return []string{"region-loss", active, "--yes"} }, true},
	{"black-hole", func(active, _ string) []string { return []string{"region-loss", active, "--black-hole", "--yes"} }, true},
}

// readyWithin bounds the wait before a round; gates look back over minutes, so that a kill is seen in them for as long.
const readyWithin = 10 * time.Minute

// drilled is what `ofitec drill ... -o json` says, as far as it is measured here.
type drilled struct {
	Times  *split `json:"times"`
	Writes struct {
		Outage   float64 `json:"outage_seconds"`
		LostTail int     `json:"lost_tail"`
	} `json:"writes"`
	Machine struct {
		EtcdGap float64 `json:"etcd_gap_seconds"`
		Overrun float64 `json:"overrun_seconds"`
		Starved bool    `json:"starved"`
	} `json:"machine"`
	Checks []struct {
		What   string `json:"what"`
		OK     bool   `json:"ok"`
		Detail string `json:"detail"`
	} `json:"checks"`
	Waited time.Duration `json:"-"` // before the round, until the arbiters would move the writes
}

// split is a recovery by its steps; nil what was not measured.
type split struct {
	Detect    *float64 `json:"detect"`
	Decide    *float64 `json:"decide"`
	Fence     *float64 `json:"fence"`
	Promote   *float64 `json:"promote"`
	Switch    *float64 `json:"switch"`
	LastStale *float64 `json:"last_stale_client"`
}

// losses moves the writes back and forth on a stack of its own, and says what each way took, step by step.
type losses struct {
	ofitec, data string
	rounds       int
	only         []string // variants
	out, say     io.Writer
}

// run measures; false when a target is missed.
func (l losses) run(ctx context.Context) (met bool, err error) {
	worst, err := l.worstCase(ctx)
	if err != nil {
		return false, err
	}
	stop, err := l.up(ctx)
	if err != nil {
		return false, err
	}
	defer stop()
	met = true
	for _, v := range variants {
		if !slices.Contains(l.only, v.name) {
			continue
		}
		var runs []drilled
		for n := range l.rounds {
			run, err := l.round(ctx, v)
			if err != nil {
				return false, fmt.Errorf("%s, round %d: %w", v.name, n+1, err)
			}
			runs = append(runs, run)
			fmt.Fprintf(l.say, "%s  %s %d of %d: %.2f s without a write%s\n", time.Now().UTC().Format(time.TimeOnly), v.name, n+1, l.rounds, run.Writes.Outage, mark(run))
		}
		met = summary(l.out, v, runs, worst) && met
	}
	return met, nil
}

func mark(run drilled) string {
	if run.Machine.Starved {
		return fmt.Sprintf(" (starved: etcd silent %.2f s, overrun %.2f s)", run.Machine.EtcdGap, run.Machine.Overrun)
	}
	return ""
}

// worstCase is what the checker of the configuration computes for the local profile: the arbiter's program says it of a replay of nothing.
func (l losses) worstCase(ctx context.Context) (time.Duration, error) {
	command := exec.CommandContext(ctx, filepath.Join(filepath.Dir(l.ofitec), "failover-arbiter"), "replay", "-o", "json", "-timing", "local")
	text, err := command.Output()
	var said struct {
		Outage float64 `json:"outage_seconds"`
	}
	if problem := json.Unmarshal(text, &said); problem != nil || said.Outage <= 0 {
		return 0, fmt.Errorf("ask the arbiter for its worst outage: %w", errors.Join(err, problem))
	}
	return time.Duration(said.Outage * float64(time.Second)), nil
}

// up starts a stack with a namespace a region and waits until all of it is ready.
func (l losses) up(ctx context.Context) (stop func(), err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("measuring needs root: a region's network cannot be cut without")
	}
	log, err := os.Create(filepath.Join(filepath.Dir(l.data), "up.log"))
	if err != nil {
		return nil, fmt.Errorf("make the stack's log: %w", err)
	}
	stack := exec.CommandContext(context.WithoutCancel(ctx), l.ofitec, "up", "--data", l.data, "--netns")
	stack.Stdout, stack.Stderr = log, log
	stack.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours to pass on
	if err := stack.Start(); err != nil {
		return nil, fmt.Errorf("start the stack: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- stack.Wait() }()
	stop = func() {
		_ = stack.Process.Signal(syscall.SIGINT)
		if err := <-ended; err != nil {
			fmt.Fprintln(l.say, "the stack ended:", err)
		}
		_ = log.Close()
	}
	for deadline := time.Now().Add(15 * time.Minute); ; {
		if exec.CommandContext(ctx, l.ofitec, "status", "--data", l.data).Run() == nil {
			return stop, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("the stack ended: %w; see %s", err, log.Name())
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
		if time.Now().After(deadline) {
			stop()
			return nil, fmt.Errorf("the stack is not ready within 15 min; see %s", log.Name())
		}
	}
}

// round moves the writes once and makes the stack whole again.
func (l losses) round(ctx context.Context, v variant) (drilled, error) {
	var status struct {
		Active *string `json:"active"`
	}
	if err := l.ask(ctx, &status, "status"); err != nil {
		return drilled{}, err
	}
	if status.Active == nil {
		return drilled{}, errors.New("no region is active")
	}
	active, other := *status.Active, "b"
	if active == "b" {
		other = "a"
	}
	// The cooldown of the round before; there may be none.
	_ = exec.CommandContext(ctx, l.ofitec, "failover", "acknowledge", "--reason", "a bench measures on", "--data", l.data).Run()
	waited, err := l.allowed(ctx, other)
	if err != nil {
		return drilled{}, err
	}
	run := drilled{Waited: waited}
	if err := l.ask(ctx, &run, append(append([]string{"drill"}, v.args(active, other)...), "--max-outage", "2m")...); err != nil {
		return run, err
	}
	if run.Times == nil {
		return run, errors.New("the writes did not move")
	}
	if v.lost {
		var back struct {
			Role string `json:"role"`
		}
		if err := l.ask(ctx, &back, "drill", "restore", active); err != nil {
			return run, err
		}
	}
	for _, c := range run.Checks {
		if !c.OK {
			return run, fmt.Errorf("a check failed, and that is no matter of speed: %s: %s", c.What, c.Detail)
		}
	}
	return run, nil
}

// allowed waits until the arbiters would move the writes to a region: until then a planned move is refused, and a loss is held. Asking changes nothing.
func (l losses) allowed(ctx context.Context, to string) (waited time.Duration, err error) {
	began, told := time.Now(), time.Duration(0)
	for {
		var said struct {
			Request struct {
				Answer *struct {
					Accepted bool   `json:"accepted"`
					Reason   string `json:"reason"`
				} `json:"answer"`
			} `json:"request"`
			Error string `json:"error"`
		}
		if err := l.ask(ctx, &said, "failover", "switchover", "--to", to, "--dry-run", "--retry-for", "0s", "--reason", "a bench asks whether it may"); err != nil {
			return 0, err
		}
		waited = time.Since(began)
		reason := said.Error
		if a := said.Request.Answer; a != nil {
			if a.Accepted {
				return waited, nil
			}
			reason = a.Reason
		}
		if waited > readyWithin {
			return waited, fmt.Errorf("the writes may not move to region %s within %s: %s", to, readyWithin, reason)
		}
		if told == 0 || waited-told >= 10*time.Second {
			told = waited
			fmt.Fprintf(l.say, "%s  waiting for %s until the writes may move to region %s: %s\n", time.Now().UTC().Format(time.TimeOnly), waited.Round(time.Second), to, reason)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return waited, ctx.Err()
		}
	}
}

// ask runs a command of the operator's program with -o json. A status that is not 0 is for the caller to read out of the answer.
func (l losses) ask(ctx context.Context, into any, args ...string) error {
	command := exec.CommandContext(ctx, l.ofitec, append(slices.Clone(args), "-o", "json", "--data", l.data)...)
	var problems bytes.Buffer
	command.Stderr = &problems
	text, err := command.Output()
	if problem := json.Unmarshal(text, into); problem != nil {
		return fmt.Errorf("ofitec %s: %w: %.500s", strings.Join(args, " "), errors.Join(err, problem), problems.String())
	}
	return nil
}
