package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// side is one way to do a thing; it returns how long count events took.
type side struct {
	name string
	run  func(ctx context.Context, g *ground, count int) (time.Duration, error)
}

// contest is a thing that is done in several ways. The first is plain nats.go, which the others are compared with.
type contest struct {
	name   string
	target float64 // of the second side; 0 for none
	sides  []side
}

var contests = []contest{
	{"publish", 0.7, []side{
		{"nats.go, same bytes, header and message id", publishRaw},
		{"events: make, validate, encode, publish", publishEvents},
		{"events: encode and publish a made event", publishMade},
		{"nats.go, same bytes, no header (no de-duplication)", publishBare},
		{"CloudEvents SDK encoding, same header", publishSDK},
	}},
	{"consume", 0, []side{
		{"nats.go durable pull, acknowledged, not decoded", consumeRaw},
		{"events: decoded, validated, handled, acknowledged", consumeEvents},
		{"nats.go durable pull, nothing taken ahead either", consumeSingly},
	}},
	{"replay", 0.4, []side{
		{"nats.go ordered consumer, not decoded", replayRaw},
		{"events: envelope decoded and checked", replayEnvelope},
		{"events: payload decoded and validated too", replayPayload},
	}},
}

// compare runs all contests and prints a table of rates and ratios. It returns whether all targets are met by the median.
func compare(out io.Writer, only string, count, rounds int) (bool, error) {
	met := true
	for _, c := range contests {
		if only != "" && only != c.name {
			continue
		}
		took := make([][]time.Duration, len(c.sides))
		for round := range rounds {
			if err := c.round(took, round, count); err != nil {
				return false, fmt.Errorf("measure %s: %w", c.name, err)
			}
		}
		met = c.print(out, took, count) && met
	}
	return met, nil
}

// round runs every side once, on a fresh server, in an order that turns with the rounds.
func (c contest) round(took [][]time.Duration, round, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	g, err := open()
	if err != nil {
		return err
	}
	defer g.close()
	if c.name != "publish" {
		if err := g.fill(ctx, count); err != nil {
			return err
		}
	}
	for n := range c.sides {
		at := (n + round) % len(c.sides)
		d, err := c.sides[at].run(ctx, g, count)
		if err != nil {
			return fmt.Errorf("%s: %w", c.sides[at].name, err)
		}
		took[at] = append(took[at], d)
	}
	return nil
}

func (c contest) print(out io.Writer, took [][]time.Duration, count int) bool {
	met := true
	fmt.Fprintf(out, "\n%s: %d events a round, %d rounds\n", c.name, count, len(took[0]))
	for n, s := range c.sides {
		var ratios []float64
		for round, d := range took[n] {
			ratios = append(ratios, took[0][round].Seconds()/d.Seconds())
		}
		slices.Sort(ratios)
		sorted := slices.Sorted(slices.Values(took[n]))
		median := ratios[len(ratios)/2]
		verdict := ""
		if n == 1 && c.target > 0 {
			verdict = fmt.Sprintf("  target %.2f met", c.target)
			if median < c.target {
				verdict, met = fmt.Sprintf("  target %.2f MISSED", c.target), false
			}
		}
		fmt.Fprintf(out, "  %-52s %8.0f/s  ratio %.2f (%.2f to %.2f)%s\n", s.name, float64(count)/sorted[len(sorted)/2].Seconds(), median, ratios[0], ratios[len(ratios)-1], verdict)
	}
	return met
}
