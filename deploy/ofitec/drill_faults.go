package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/deploy/local/supervise"
	"github.com/ofitec/ofitec/events/state"
)

// faultKind is a command that does one kind of harm.
type faultKind struct {
	use, short, long string
	lasts            time.Duration
	// check finds wrong use before anything runs; make describes the harm to the stack as it is.
	check func(arg string) error
	make  func(arg string, lasts time.Duration, c faultContext) (fault, error)
}

var faultKinds = []faultKind{
	{
		use: "partition CUT", lasts: 15 * time.Second,
		short: "Cut what regions say to each other, for a while",
		long: `Packets are dropped where they arrive, so that nobody is told; the rest of the world still reaches every region. It needs a stack started with up --netns.
CUT is a|bc, b|ac or ab|c (groups that do not hear each other), a-b (one link), a>b (one way only: what a says to b), or several of these joined by commas.`,
		check: func(arg string) error {
			_, err := netns.ParseCut(arg)
			return err
		},
		make: partitionFault,
	},
	{
		use: "freeze REGION", lasts: 12 * time.Second,
		short: "Stop every process of a region with SIGSTOP, for longer than its mandate, and wake all of them",
		check: regionCheck, make: freezeFault,
	},
	{
		use: "pause-arbiter REGION", lasts: 12 * time.Second,
		short: "Stop a region's arbiter with SIGSTOP, past its mandate and its lease, and let it go on",
		check: regionCheck, make: pauseFault,
	},
	{
		use: "no-quorum SERVER", lasts: 15 * time.Second,
		short: "Stop two of the three etcd members or NATS servers with SIGSTOP, for a while; SERVER is etcd or nats",
		check: func(arg string) error {
			if arg != "etcd" && arg != "nats" {
				return fmt.Errorf("server %q: must be etcd or nats", arg)
			}
			return nil
		},
		make: quorumFault,
	},
	{
		use:   "kill REGION/COMPONENT",
		short: "Kill one component with SIGKILL, such as a/postgres, and see it come back",
		check: func(arg string) error {
			region, name, ok := strings.Cut(arg, "/")
			if !ok || name == "" {
				return fmt.Errorf("component %q: must be region/name such as a/postgres; ofitec status lists them", arg)
			}
			return regionArgument(region)
		},
		make: killFault,
	},
	{
		use:   "switchover REGION",
		short: "Move the writes to the other region as planned, and count that not one is lost",
		check: func(arg string) error {
			if !layout.Region(arg).HoldsData() {
				return fmt.Errorf("region %q: must be a or b", arg)
			}
			return nil
		},
		make: switchoverFault,
	},
}

// allKinds are the kinds of harm that a drill can do and take back.
func allKinds() []faultKind { return slices.Concat(faultKinds, diskKinds, []faultKind{clockKind}) }

func regionCheck(arg string) error { return regionArgument(arg) }

// newFault makes the command of a kind.
func newFault(k faultKind) *cobra.Command {
	var lasts, within, maxOutage time.Duration
	command := &cobra.Command{
		Use: k.use, Short: k.short, Args: cobra.ExactArgs(1),
		Long: strings.TrimSpace(k.short + ".\n\n" + k.long + `
Writers at the doors of both data regions count what is acknowledged. The harm is taken back by itself; exits 1 unless every check holds.`),
		RunE: func(cmd *cobra.Command, args []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			if err := k.check(args[0]); err != nil {
				return wrongUse{err}
			}
			o, client, err := running(cmd)
			if err != nil {
				return err
			}
			progress := cmd.OutOrStdout()
			if inJSON {
				progress = cmd.ErrOrStderr()
			}
			result, err := runFault(cmd.Context(), o, client, within, progress, func(c faultContext) (fault, error) {
				made, err := k.make(args[0], lasts, c)
				if maxOutage > 0 {
					made.must.maxOutage = maxOutage
				}
				return made, err
			})
			if err != nil {
				return err
			}
			return tellVerdict(cmd, inJSON, result, result.OK)
		},
	}
	flags := command.Flags()
	if k.lasts > 0 {
		flags.DurationVar(&lasts, "for", k.lasts, "how long it lasts")
	}
	flags.DurationVar(&within, "within", 3*time.Minute, "how long a failover, and afterwards everything to be whole again, may take each")
	flags.DurationVar(&maxOutage, "max-outage", 0, "longest time without an acknowledged write that is accepted (default: by the kind of harm)")
	outputFlag(command)
	return command
}

// The longest times without a write that are accepted.
const (
	outageMoved  = 12 * time.Second // worst of a region loss
	outageStays  = 4 * time.Second  // one of a member's election, a proxy's or a database's restart
	outageClosed = 12 * time.Second // to reopen, once what had closed it is gone
)

// mayMove says what a region's silence of a length does to its mandate: another takes over when it has ended by everyone's clock.
func (c faultContext) mayMove(lasts time.Duration) moves {
	mandate, delta := duration(c.config.Mandate), duration(c.config.Delta)
	switch {
	case lasts >= mandate+delta+2*time.Second:
		return moved
	case lasts <= mandate/4:
		return stays
	}
	return either
}

func (c faultContext) active() layout.Region { return layout.Region(c.state.Active) }

// partitionFault cuts ways. What must follow depends on whom the active region still hears and who hears it.
func partitionFault(cut string, lasts time.Duration, c faultContext) (fault, error) {
	ways, err := netns.ParseCut(cut)
	if err != nil {
		return fault{}, err
	}
	if !c.now.Namespaces {
		return fault{}, fmt.Errorf("drill partition: regions of this stack cannot be parted: on loopback a connection to %s leaves from 127.0.0.1. Start the stack with up --netns", c.layout.Addressing.Region[c.active()])
	}
	return fault{
		name: "partition " + cut, lasts: lasts, must: c.parted(ways, lasts),
		begin: func(ctx context.Context) error { return netns.Partition(ctx, c.layout.Addressing, ways) },
		end:   netns.Heal,
	}, nil
}

func (c faultContext) parted(ways []netns.Way, lasts time.Duration) expectation {
	speak := func(x, y layout.Region) bool { // TCP needs both ways
		for _, way := range ways {
			if way == (netns.Way{From: x, To: y}) || way == (netns.Way{From: y, To: x}) {
				return false
			}
		}
		return true
	}
	active := c.active()
	peer := active.Peer()
	if speak(active, peer) || speak(active, layout.C) {
		return expectation{moves: stays, maxOutage: outageStays}
	}
	must := expectation{moves: stays, maxOutage: lasts + outageClosed}
	if speak(peer, layout.C) {
		must = expectation{moves: c.mayMove(lasts), maxOutage: outageMoved}
	}
	if lasts > duration(c.config.Mandate) {
		must.closed = []layout.Region{active}
	}
	return must
}

// freezeFault stops a whole region. When it wakes it must not write any more, if it was active and was away for longer than its mandate.
func freezeFault(name string, lasts time.Duration, c faultContext) (fault, error) {
	r := layout.Region(name)
	must := expectation{moves: stays, maxOutage: outageStays}
	if r == c.active() {
		must = expectation{moves: c.mayMove(lasts), maxOutage: outageMoved}
		if !c.now.CommitWitness { // with one, not even a region that wakes up acknowledges anything
			must.woken = r
		}
	}
	dir := c.layout.RegionDir(r)
	return fault{
		name: "freeze region " + name, lasts: lasts, must: must,
		begin: func(ctx context.Context) error {
			limited, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			return supervise.FreezeFolder(limited, dir)
		},
		end: func(context.Context) error { return supervise.ThawFolder(dir) },
	}, nil
}

// pauseFault stops one arbiter. The active region's proxy must close by itself: its arbiter is no help.
func pauseFault(name string, lasts time.Duration, c faultContext) (fault, error) {
	r := layout.Region(name)
	must := expectation{moves: stays, maxOutage: outageStays}
	if r == c.active() {
		must = expectation{moves: c.mayMove(lasts), maxOutage: outageMoved}
		if lasts > duration(c.config.Mandate) {
			must.closed = []layout.Region{r}
		}
	}
	return c.stopped("pause the arbiter of region "+name, lasts, must, name+"/failover-arbiter"), nil
}

// stopped is a fault that stops units with SIGSTOP.
func (c faultContext) stopped(name string, lasts time.Duration, must expectation, units ...string) fault {
	all := func(ctx context.Context, signal syscall.Signal) error {
		for _, unit := range units {
			if err := c.client.Signal(ctx, unit, signal); err != nil {
				return err
			}
		}
		return nil
	}
	return fault{
		name: name, lasts: lasts, must: must,
		begin: func(ctx context.Context) error { return all(ctx, syscall.SIGSTOP) },
		end:   func(ctx context.Context) error { return all(ctx, syscall.SIGCONT) },
	}
}

// quorumFault takes the majority of a cluster away, the active region's own member excepted: what is left must know that it is alone.
func quorumFault(server string, lasts time.Duration, c faultContext) (fault, error) {
	active := c.active()
	units := []string{string(active.Peer()) + "/" + server, string(layout.C) + "/" + server}
	if server == "nats" { // the bus only informs: without it nothing is decided on observations, and the mandate goes on
		return c.stopped("NATS without quorum", lasts, expectation{moves: stays, maxOutage: outageStays}, units...), nil
	}
	must := expectation{moves: stays, maxOutage: lasts + outageClosed}
	if lasts > duration(c.config.Mandate) {
		must.closed = layout.DataRegions
	}
	made := c.stopped("etcd without quorum", lasts, must, units...)
	made.silences = true
	return made, nil
}

// killFault kills one process; the supervisor starts it again. A database that needs longer than its budget may rightly be left.
func killFault(unit string, _ time.Duration, c faultContext) (fault, error) {
	region, name, _ := strings.Cut(unit, "/")
	must := expectation{moves: stays, maxOutage: outageStays}
	if layout.Region(region) == c.active() && name == "postgres" {
		must = expectation{moves: either, maxOutage: outageMoved}
	}
	if layout.Region(region) == c.active() && name == "failover-arbiter" { // the next process renews, but the mandate goes on counting meanwhile
		must = expectation{moves: either, maxOutage: outageMoved}
	}
	find := func(status control.Status) (supervise.Status, bool) {
		at := slices.IndexFunc(status.Components, func(s supervise.Status) bool { return s.Region == region && s.Name == name })
		if at < 0 {
			return supervise.Status{}, false
		}
		return status.Components[at], true
	}
	before, known := find(c.now)
	if !known {
		return fault{}, fmt.Errorf("drill kill: there is no component %s; ofitec status lists them", unit)
	}
	return fault{
		name: "kill " + unit, must: must,
		begin: func(ctx context.Context) error { return c.client.Signal(ctx, unit, syscall.SIGKILL) },
		back: func(status control.Status) string {
			if now, _ := find(status); !now.Ready || now.PID == before.PID {
				return unit + " is not back: " + or(now.Reason, "the supervisor has not seen it end yet")
			}
			return ""
		},
	}, nil
}

// switchoverFault moves the writes as planned: the one harm after which nothing at all may be missing.
func switchoverFault(to string, _ time.Duration, c faultContext) (fault, error) {
	if layout.Region(to) == c.active() {
		return fault{}, fmt.Errorf("drill switchover: region %s is active already", to)
	}
	return fault{
		name: "switchover to region " + to, must: expectation{moves: moved, maxOutage: outageMoved, lossless: true},
		begin: func(ctx context.Context) error {
			etcd, err := c.etcd(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = etcd.Close() }()
			planned := manual{verb: state.VerbSwitchover, moves: true}
			_, err = planned.carryOut(ctx, etcdCells{etcd}, manualFlags{to: to, reason: "a drill", answerIn: 15 * time.Second, completeIn: time.Minute, retryFor: time.Minute}, io.Discard)
			return err
		},
	}, nil
}

// newHeal takes back what a drill has left when it was killed itself.
func newHeal() *cobra.Command {
	return &cobra.Command{
		Use:   "heal",
		Short: "Take back whatever a drill that was killed has left: partitions, processes that stand still, disks that are slow or full, clocks that have jumped",
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := local.Open(dataFolder(cmd))
			if err != nil {
				return err
			}
			status, err := control.NewClient(l.ControlSocket()).Status(cmd.Context())
			if err != nil {
				return fmt.Errorf("data folder %s: %w", l.Root, err)
			}
			if status.Namespaces {
				if err := netns.Heal(cmd.Context()); err != nil {
					return err
				}
			}
			for _, r := range layout.Regions {
				if err := errors.Join(healDisk(status, l.RegionDir(r)), healClock(cmd.Context(), l.RegionDir(r)), supervise.ThawFolder(l.RegionDir(r))); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "healed: no way is cut, no process stands still, no disk is slow or filled, no clock is off")
			return err
		},
	}
}

func (r faultReport) print(w io.Writer) error {
	_, _ = fmt.Fprintln(w)
	if err := printTimeline(w, r.Timeline); err != nil {
		return err
	}
	if r.Times != nil {
		_, _ = fmt.Fprintf(w, "\n%s\n%s\n", r.Times, tailsText(r.Names))
	}
	_, _ = fmt.Fprintf(w, "\nwithout an acknowledged write for %.2f s; acknowledged %v, refused or unanswered by door %v; %d acknowledged writes had not been replicated\n%s\n\n",
		r.Writes.Outage, r.Writes.Acknowledged, r.Writes.Refused, r.Writes.LostTail, r.Machine)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range r.Checks {
		word := "ok"
		if !c.OK {
			word = "FAILED"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", word, c.What, c.Detail)
	}
	return table.Flush()
}
