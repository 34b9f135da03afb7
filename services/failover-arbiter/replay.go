package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/whatif"
)

// thresholds are what replay --set changes: the profile's numbers and the settings that rest on them.
var thresholds = map[string]func(c *Config, p *timing.Profile, value string) error{
	"failures": func(_ *Config, p *timing.Profile, v string) (err error) {
		p.ProbeFailures, err = strconv.Atoi(v)
		if err == nil && (p.ProbeFailures < 1 || p.ProbeFailures > 1000) {
			err = errors.New("must be 1 to 1000")
		}
		return err
	},
	"window":        func(_ *Config, p *timing.Profile, v string) error { return long(&p.ProbeWindow, v) },
	"gates-red-for": func(c *Config, _ *timing.Profile, v string) error { return long(&c.GatesRed, v) },
	"max-loss":      func(c *Config, _ *timing.Profile, v string) error { return long(&c.MaxLoss, v) },
	"cooldown":      func(c *Config, _ *timing.Profile, v string) error { return long(&c.Cooldown, v) },
}

func long(into *time.Duration, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return errors.New("must be a duration above 0, such as 30s")
	}
	*into = d
	return nil
}

// changes are the --set flags.
type changes []string

func (c *changes) String() string     { return strings.Join(*c, " ") }
func (c *changes) Set(s string) error { *c = append(*c, s); return nil }

// comparison is a replay's result: as configured, and as it would have been.
type comparison struct {
	Set     []string       `json:"set"`
	Worth   float64        `json:"outage_seconds"` // what is over sooner is not worth a failover
	Refused []string       `json:"refused_by,omitempty"`
	As      whatif.Result  `json:"as_configured"`
	Instead *whatif.Result `json:"instead,omitempty"`
}

// replay reads observations, and the failovers between them, and says what would have happened under other thresholds:
// replay [-o json] [-timing local|wan] [-active a|b] [-outage D] [-set KEY=VALUE]...
func replay(args []string, in io.Reader, out io.Writer) error {
	flags, output := flagsOf("replay")
	named := flags.String("timing", "local", "profile that ran")
	active := flags.String("active", "a", "region that is active when the recording begins")
	worth := flags.Duration("outage", 0, "outages that are over sooner are not worth a failover; the profile's worst outage when 0")
	var set changes
	flags.Var(&set, "set", "threshold=value")
	if err := parse(flags, output, args); err != nil {
		return err
	}
	c, trials, err := prepare(flags, *named, *active, *worth, set)
	if err != nil {
		return err
	}
	err = eachHeard(in, func(h heard) error {
		for _, trial := range trials {
			trial.Take(h.payload, h.at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.As = trials[0].Result()
	if len(trials) > 1 {
		instead := trials[1].Result()
		c.Instead = &instead
	}
	if *output == "json" {
		return printJSON(out, c)
	}
	return c.print(out)
}

// prepare makes the trial of what ran, and that of what is asked.
func prepare(flags *flag.FlagSet, named, active string, worth time.Duration, set changes) (c comparison, trials []*whatif.Trial, err error) {
	wrong := func(format string, args ...any) error {
		return &chassis.UsageError{Reason: "replay: " + fmt.Sprintf(format, args...)}
	}
	profile, err := timing.Named(named)
	switch {
	case flags.NArg() > 0:
		return c, nil, wrong("unknown argument %q", flags.Arg(0))
	case err != nil:
		return c, nil, wrong("-timing %q: must be local or wan", named)
	case !events.Region(active).HoldsData():
		return c, nil, wrong("-active %q: must be a or b", active)
	case worth < 0:
		return c, nil, wrong("-outage %s: must be 0 or more", worth)
	}
	if worth == 0 {
		worth = timing.WorstOutage(profile).DeadByProxy
	}
	config, changed := NewConfig(), profile
	config.Region = string(events.RegionC)
	c = comparison{Set: set, Worth: worth.Seconds()}
	trials = []*whatif.Trial{whatif.New(config.judging(profile), events.Region(active), worth)}
	for _, change := range set {
		key, value, _ := strings.Cut(change, "=")
		apply, known := thresholds[key]
		if !known {
			return c, nil, wrong("-set %q: must be one of %s, then = and its value", change, strings.Join(slices.Sorted(maps.Keys(thresholds)), ", "))
		}
		if err := apply(config, &changed, value); err != nil {
			return c, nil, wrong("-set %s: %q: %v", key, value, err)
		}
	}
	if len(set) > 0 {
		for _, err := range unwrapped(timing.Check(changed)) {
			c.Refused = append(c.Refused, err.Error())
		}
		trials = append(trials, whatif.New(config.judging(changed), events.Region(active), worth))
	}
	return c, trials, nil
}

func unwrapped(err error) []error {
	if many, is := err.(interface{ Unwrap() []error }); is { //nolint:errorlint // the joined errors themselves are wanted
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func (c comparison) print(out io.Writer) error {
	fmt.Fprintf(out, "%d observations from %s to %s; an outage is worth a failover from %.1f s on\n", c.As.Observations,
		c.As.From.UTC().Format(time.DateTime), c.As.To.UTC().Format(time.DateTime), c.Worth)
	table := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	columns := []whatif.Result{c.As}
	head := "\tas configured"
	if c.Instead != nil {
		columns, head = append(columns, *c.Instead), head+"\t"+strings.Join(c.Set, " ")
	}
	fmt.Fprintln(table, head)
	row := func(name string, of func(whatif.Result) string) {
		cells := []string{name}
		for _, r := range columns {
			cells = append(cells, of(r))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	row("failovers that would have begun", func(r whatif.Result) string { return strconv.Itoa(len(r.Failovers)) })
	row("  of them for nothing", func(r whatif.Result) string { return strconv.Itoa(r.Nothing()) })
	row("outages missed", func(r whatif.Result) string {
		missed, outages := r.Missed()
		return fmt.Sprintf("%d of %d", missed, outages)
	})
	row("detected after, median", func(r whatif.Result) string {
		d := r.Detection()
		if len(d) == 0 {
			return "-"
		}
		slices.Sort(d)
		return fmt.Sprintf("%.2f s (%.2f to %.2f)", d[len(d)/2], d[0], d[len(d)-1])
	})
	row("observations that count for nothing", func(r whatif.Result) string { return strconv.Itoa(r.Ignored) })
	if err := table.Flush(); err != nil {
		return err
	}
	for n, r := range columns {
		for _, f := range r.Failovers {
			nothing := ""
			if f.Nothing {
				nothing = ", for nothing"
			}
			fmt.Fprintf(out, "%s  %s  from %s to %s by %s after %.2f s%s\n", head2(n, c.Set), f.At.UTC().Format(time.DateTime), f.From, f.To, f.Rule, f.Detect, nothing)
		}
		for _, o := range r.Outages {
			if o.Real && !o.Answered {
				fmt.Fprintf(out, "%s  %s  region %s away for %.1f s and no failover%s\n", head2(n, c.Set), o.Began.UTC().Format(time.DateTime), o.Region, o.Seconds, because(o.Held))
			}
		}
	}
	for _, refused := range c.Refused {
		fmt.Fprintf(out, "an arbiter would not start so: %s\n", refused)
	}
	return nil
}

func head2(n int, set []string) string {
	if n == 0 {
		return "as configured"
	}
	return strings.Join(set, " ")
}

func because(rule string) string {
	if rule == "" {
		return ""
	}
	return ": held by " + rule
}
