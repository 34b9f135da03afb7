package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// target is what a rotation in the local stack may take from due to switched, without the window.
const target = 5 * time.Second

// operator is the operator's program and the stack's folder.
type operator struct{ program, data string }

// run runs one command and decodes its answer.
func (o operator) run(ctx context.Context, into any, args ...string) error {
	command := exec.CommandContext(ctx, o.program, append(args, "-o", "json", "--data", o.data)...)
	out, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("ofitec %s: %w: %s%s", strings.Join(args, " "), err, out, exit.Stderr)
		}
		return fmt.Errorf("ofitec %s: %w", strings.Join(args, " "), err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("ofitec %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// rollout is a region's last one, as ofitec credentials show prints it.
type rollout struct {
	Version    int64      `json:"version"`
	Started    *time.Time `json:"started_at"`
	WatchFrom  *time.Time `json:"watch_from"`
	WatchUntil *time.Time `json:"watch_until"`
	Switched   *time.Time `json:"switched_at"`
	Ended      *time.Time `json:"ended_at"`
}

// lap is where a rotation's time went, the windows apart.
type lap struct {
	published time.Duration // from due to the first deployer's first step
	before    time.Duration // region after region: what the ones before the active one took beside their windows
	canary    time.Duration // the active region's: from its first step until the canary had logged in
	switching time.Duration // from the window's end until the canary had the traffic
	windows   time.Duration
}

func (l lap) own() time.Duration { return l.published + l.canary + l.switching }

// rollouts rotates again and again on the stack that is up, and says where the time went.
func rollouts(ctx context.Context, out io.Writer, o operator, rounds int) (met bool, err error) {
	machine(out)
	fmt.Fprintf(out, "\n%d rotations of odoo-app, each asked for by ofitec credentials rotate; seconds without the gate's window\n\n", rounds)
	fmt.Fprintf(out, "%-5s %9s %9s %9s %9s %15s %17s\n", "round", "publish", "canary", "switch", "own", "other regions", "gate's windows")
	var own, others []time.Duration
	for n := 1; n <= rounds; n++ {
		l, err := rotate(ctx, o, n)
		if err != nil {
			return false, err
		}
		own, others = append(own, l.own()), append(others, l.before)
		fmt.Fprintf(out, "%-5d %9.2f %9.2f %9.2f %9.2f %15.2f %17.2f\n", n, l.published.Seconds(), l.canary.Seconds(), l.switching.Seconds(), l.own().Seconds(), l.before.Seconds(), l.windows.Seconds())
	}
	slices.Sort(own)
	slices.Sort(others)
	met = own[len(own)/2] < target // the spread shows the rounds in which the machine had other things to do
	word := map[bool]string{true: "met", false: "MISSED"}[met]
	fmt.Fprintf(out, "\nfrom due to switched: median %.2f s, spread %.2f to %.2f s; target less than %s: %s\n", own[len(own)/2].Seconds(), own[0].Seconds(), own[len(own)-1].Seconds(), target, word)
	fmt.Fprintf(out, "regions before the active one, to the end of their rollouts: median %.2f s, spread %.2f to %.2f s (they come first on purpose, and are no part of it)\n",
		others[len(others)/2].Seconds(), others[0].Seconds(), others[len(others)-1].Seconds())
	fmt.Fprintf(out, "ratio of the slowest to the fastest: %.2f\n", own[len(own)-1].Seconds()/own[0].Seconds())
	return met, nil
}

func rotate(ctx context.Context, o operator, n int) (lap, error) {
	var status struct{ Active *string }
	if err := o.run(ctx, &status, "status"); err != nil {
		return lap{}, err
	}
	if status.Active == nil {
		return lap{}, errors.New("no region is active: a rotation would wait for one")
	}
	var asked struct {
		Version int64
		Act     struct{ At time.Time }
	}
	if err := o.run(ctx, &asked, "credentials", "rotate", "odoo-app", "--reason", fmt.Sprintf("bench/rotation, round %d", n), "--wait"); err != nil {
		return lap{}, err
	}
	var shown struct{ Regions map[string]rollout }
	if err := o.run(ctx, &shown, "credentials", "show", "odoo-app"); err != nil {
		return lap{}, err
	}
	active := shown.Regions[*status.Active]
	for region, r := range shown.Regions {
		if r.Version != asked.Version || r.Started == nil || r.WatchFrom == nil || r.WatchUntil == nil || r.Switched == nil || r.Ended == nil {
			return lap{}, fmt.Errorf("region %s shows no whole rollout of version %d: %+v", region, asked.Version, r)
		}
	}
	if active.Started == nil {
		return lap{}, fmt.Errorf("region %s, the active one, shows no rollout", *status.Active)
	}
	l := lap{canary: active.WatchFrom.Sub(*active.Started), switching: active.Switched.Sub(*active.WatchUntil), windows: active.WatchUntil.Sub(*active.WatchFrom)}
	first := *active.Started
	for _, r := range shown.Regions {
		if r.Started.Before(first) {
			first = *r.Started
		}
	}
	for _, r := range shown.Regions {
		if r.Ended.Before(*active.Started) { // this region came first, and the active one waited for it
			l.windows += r.WatchUntil.Sub(*r.WatchFrom)
		}
	}
	l.published = first.Sub(asked.Act.At)
	l.before = active.Switched.Sub(asked.Act.At) - l.windows - l.own()
	return l, nil
}

// machine says on what is measured.
func machine(out io.Writer) {
	cpu := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	fmt.Fprintf(out, "machine  %s, %d cores, %s/%s, %s\n", cpu, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Fprintf(out, "load     %s (a busy machine spoils absolute numbers)\n", strings.Join(strings.Fields(string(load))[:3], " "))
	}
	for _, command := range []string{"vault version", "/usr/lib/postgresql/15/bin/postgres --version", "haproxy -v", "prometheus --version"} {
		words := strings.Fields(command)
		said, err := exec.Command(words[0], words[1:]...).CombinedOutput() //nolint:noctx // it prints its version and ends
		if err != nil {
			continue // it is built into the cache, or not in PATH
		}
		line, _, _ := strings.Cut(string(said), "\n")
		fmt.Fprintf(out, "with     %s\n", line)
	}
}
