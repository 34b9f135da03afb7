package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/clock"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

var clockKind = faultKind{
	use: "clock-jump JUMP", lasts: 20 * time.Second,
	short: "Let the wall clock of a region jump, and jump back after a while",
	long: `JUMP is a region and how far, such as a+1h or a-1h. What jumps is what every process of the region reads, whatever it is written in: database, etcd, NATS, proxies and
services, and those that start meanwhile. Their monotonic clocks go on, and so do the times that the kernel gives to files.`,
	check: func(arg string) error {
		_, _, err := parseJump(arg)
		return err
	},
	make: clockFault,
}

// parseJump reads a region and a signed time.
func parseJump(arg string) (layout.Region, time.Duration, error) {
	wrong := fmt.Errorf("jump %q: must be a region and how far in whole seconds, such as a+1h or a-1h", arg)
	at := strings.IndexAny(arg, "+-")
	if at < 0 {
		return "", 0, wrong
	}
	far, err := time.ParseDuration(arg[at:])
	if err != nil || far == 0 || far%time.Second != 0 || regionArgument(arg[:at]) != nil {
		return "", 0, wrong
	}
	return layout.Region(arg[:at]), far, nil
}

// loginsLive is how long the database's users live. PostgreSQL holds their end against its own wall clock.
const loginsLive = time.Hour

// jumped is what must follow. Nothing may move for it: the rights rest on clocks that do not jump, and the active region only renews its mandate before it believes its
// deadline again. But where its clock is ahead by a login's life, every login has expired there, and no write is taken until the clock is right.
func (c faultContext) jumped(r layout.Region, far, lasts time.Duration) expectation {
	must := expectation{moves: stays, maxOutage: outageStays}
	if r == c.active() && far >= loginsLive {
		must = expectation{moves: either, maxOutage: min(lasts+outageClosed, grayOutage)}
	}
	return must
}

// clockFault lets a region's wall clock jump.
func clockFault(arg string, lasts time.Duration, c faultContext) (fault, error) {
	r, far, err := parseJump(arg)
	if err != nil {
		return fault{}, err
	}
	dir, said := c.layout.RegionDir(r), ""
	var following context.CancelFunc
	followed := make(chan error, 1)
	jump := func(ctx context.Context, far time.Duration) error {
		began := time.Now()
		n, err := clock.Jump(ctx, dir, far)
		said += fmt.Sprintf("%d processes of region %s read a wall clock that is %s off, set while they stood still for %.2f s. ", n, r, signed(far), time.Since(began).Seconds())
		return err
	}
	return fault{
		name: fmt.Sprintf("the wall clock of region %s jumps by %s", r, signed(far)), lasts: lasts, must: c.jumped(r, far, lasts),
		begin: func(ctx context.Context) error {
			if err := jump(ctx, far); err != nil {
				return err
			}
			ctx, following = context.WithCancel(ctx) //nolint:gosec // end calls it
			go func() { followed <- clock.Follow(ctx, dir, far) }()
			return nil
		},
		end: func(ctx context.Context) error {
			var lost error
			if following != nil {
				following()
				lost = <-followed
			}
			return errors.Join(lost, jump(ctx, 0))
		},
		note: func() string { return strings.TrimSpace(said) },
	}, nil
}

func signed(far time.Duration) string {
	if far < 0 {
		return far.String()
	}
	return "+" + far.String()
}

// healClock gives all processes of a region's folder the machine's clock again.
func healClock(ctx context.Context, dir string) error {
	if !clock.Possible() {
		return nil // none can have jumped
	}
	_, err := clock.Jump(ctx, dir, 0)
	return err
}
