package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The targets of the arbiter's own cost.
const (
	observationsWanted = 1e6 // a second, on one core
	idleCPUAtMost      = 0.01
	idleMemoryAtMost   = 60 << 20
)

// measured finds the rate that the arbiter's benchmark reports.
var measured = regexp.MustCompile(`(?m)^BenchmarkDecideHeard\b.*\s([0-9.e+]+) observations/s`)

// decide replays observations through the arbiter's pure decision on one core. A bench imports no service, so it runs the benchmark that stands beside the decision.
func decide(ctx context.Context, out io.Writer, source string, rounds int) (met bool, err error) {
	command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkDecideHeard$", "-cpu", "1", "-count", strconv.Itoa(rounds), "./internal/failover")
	command.Dir = source
	command.Stderr = os.Stderr
	text, err := command.Output()
	if err != nil {
		return false, fmt.Errorf("run the benchmark in %s: %w", source, err)
	}
	rates, err := ratesOf(string(text))
	if err != nil {
		return false, err
	}
	slices.Sort(rates)
	median := rates[len(rates)/2]
	met = median >= observationsWanted
	fmt.Fprintf(out, "decide   %.2f million observations a second on one core, %.2f to %.2f in %d rounds (want 1): %s\n",
		median/1e6, rates[0]/1e6, rates[len(rates)-1]/1e6, len(rates), verdict(met))
	return met, nil
}

func ratesOf(text string) ([]float64, error) {
	var rates []float64
	for _, found := range measured.FindAllStringSubmatch(text, -1) {
		rate, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			return nil, fmt.Errorf("read the benchmark's output: %w", err)
		}
		rates = append(rates, rate)
	}
	if len(rates) == 0 {
		return nil, errors.New("the benchmark printed no rate of observations a second")
	}
	return rates, nil
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// usage is what a process has used of the machine.
type usage struct {
	cpu    time.Duration
	memory int64 // resident, in bytes
}

// idle watches the arbiters of a stack that runs, and says what each of them takes while nothing happens.
func idle(ctx context.Context, out io.Writer, ofitec, data string, during time.Duration) (met bool, err error) {
	arbiters, err := arbitersOf(ctx, ofitec, data)
	if err != nil {
		return false, err
	}
	before := map[string]usage{}
	for region, pid := range arbiters {
		if before[region], err = usageOf(pid); err != nil {
			return false, err
		}
	}
	timer := time.NewTimer(during)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	met = true
	for _, region := range []string{"a", "b", "c"} {
		after, err := usageOf(arbiters[region])
		if err != nil {
			return false, err
		}
		share := (after.cpu - before[region].cpu).Seconds() / during.Seconds()
		ok := share < idleCPUAtMost && after.memory < idleMemoryAtMost
		met = met && ok
		fmt.Fprintf(out, "idle     region %s: %.2f %% of a core over %s, %.1f MB resident (want under 1 %% and 60 MB): %s\n",
			region, 100*share, during, float64(after.memory)/1e6, verdict(ok))
	}
	return met, nil
}

// arbitersOf asks the operator's program for the arbiters' process ids by region.
func arbitersOf(ctx context.Context, ofitec, data string) (map[string]int, error) {
	text, err := exec.CommandContext(ctx, ofitec, "--data", data, "status", "-o", "json").Output()
	var status struct {
		Regions map[string]struct {
			Components []struct {
				Name string `json:"name"`
				PID  int    `json:"pid"`
			} `json:"components"`
		} `json:"regions"`
	}
	if problem := json.Unmarshal(text, &status); problem != nil {
		return nil, fmt.Errorf("read what %s status says: %w", ofitec, errors.Join(err, problem))
	}
	arbiters := map[string]int{}
	for region, seen := range status.Regions {
		for _, component := range seen.Components {
			if component.Name == "failover-arbiter" && component.PID > 0 {
				arbiters[region] = component.PID
			}
		}
	}
	if len(arbiters) != 3 {
		return nil, fmt.Errorf("%d arbiters run in the stack of %s, want 3: is it up?", len(arbiters), data)
	}
	return arbiters, nil
}

// usageOf reads what /proc knows of a process. Its clock ticks a hundred times a second.
func usageOf(pid int) (usage, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, fmt.Errorf("read the use of process %d: %w", pid, err)
	}
	_, rest, found := strings.Cut(string(text), ") ") // the name before it may hold spaces
	fields := strings.Fields(rest)
	if !found || len(fields) < 22 {
		return usage{}, fmt.Errorf("read the use of process %d: %q", pid, text)
	}
	var numbers [3]int64
	for n, field := range []int{11, 12, 21} { // user time, system time, resident pages
		if numbers[n], err = strconv.ParseInt(fields[field], 10, 64); err != nil {
			return usage{}, fmt.Errorf("read the use of process %d: %w", pid, err)
		}
	}
	return usage{cpu: time.Duration(numbers[0]+numbers[1]) * 10 * time.Millisecond, memory: numbers[2] * int64(os.Getpagesize())}, nil
}
