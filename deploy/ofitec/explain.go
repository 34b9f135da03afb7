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
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// newExplain explains an epoch's decisions. The arbiter's program takes them again, since nobody else has its rules; it reads events and needs no access to anything.
func newExplain() *cobra.Command {
	command := &cobra.Command{
		Use:   "explain EPOCH",
		Short: "Show what each decision of an epoch rested on, which rule fired, and whether the same comes of it again",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			epoch, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || epoch == 0 {
				return wrongUse{fmt.Errorf("failover explain %q: must be an epoch, a number from 1; ofitec failover history lists them", args[0])}
			}
			return analyse(cmd, []string{"explain", "-o", outputOf(cmd), args[0]}, func(ctx context.Context, stream replayer, to io.Writer) error {
				return feed(ctx, stream, bus.Range{Stream: events.StreamFacts, Types: failoverTypes}, to, func(r bus.Replayed) bool { return uint64(r.Event.Epoch) == epoch })
			})
		},
	}
	outputFlag(command)
	return command
}

// newFailoverReplay asks what would have happened under other thresholds.
func newFailoverReplay() *cobra.Command {
	var since, until, profile string
	var worth time.Duration
	var set []string
	command := &cobra.Command{
		Use:   "replay",
		Short: "Replay recorded observations to the decision under other thresholds: failovers for nothing against detection time",
		Long: "Replay recorded observations to the decision under other thresholds: failovers for nothing against detection time.\n\n" +
			"HEALTH keeps seven days. Thresholds: failures, window, gates-red-for, max-loss, cooldown. Nothing is published. What the recording does not hold is taken to be well: the mandate is renewed, etcd answers.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := moment("--since", since)
			if err != nil {
				return err
			}
			to, err := moment("--until", until)
			if err != nil {
				return err
			}
			if to.IsZero() {
				to = time.Now()
			}
			arguments := []string{"replay", "-o", outputOf(cmd), "-timing", profile, "-outage", worth.String()}
			for _, s := range set {
				arguments = append(arguments, "-set", s)
			}
			return analyse(cmd, arguments, func(ctx context.Context, stream replayer, w io.Writer) error {
				return feedInTime(ctx, stream, from, to, w)
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&since, "since", "24h", "begin: a time (2026-11-24T10:00:00Z) or a duration back from now (48h)")
	flags.StringVar(&until, "until", "", "end: the same; now when not given")
	flags.StringVar(&profile, "timing", "local", "timing profile that ran: local or wan")
	flags.DurationVar(&worth, "outage", 0, "outages that are over sooner are not worth a failover; the profile's worst outage when 0")
	flags.StringArrayVar(&set, "set", nil, "threshold=value, such as failures=5; may be given again")
	outputFlag(command)
	return command
}

func outputOf(cmd *cobra.Command) string {
	output, _ := cmd.Flags().GetString("output")
	return output
}

// analyse runs the arbiter's program on what is fed to it.
func analyse(cmd *cobra.Command, args []string, feeding func(context.Context, replayer, io.Writer) error) error {
	if _, err := asJSON(cmd); err != nil {
		return err
	}
	l, err := local.Open(dataFolder(cmd))
	if err != nil {
		return err
	}
	o, err := newOperator(l)
	if err != nil {
		return err
	}
	conn, js, err := o.nats()
	if err != nil {
		return err
	}
	defer conn.Close()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	program := exec.CommandContext(cmd.Context(), filepath.Join(filepath.Dir(self), "failover-arbiter"), args...)
	program.Stdout = cmd.OutOrStdout()
	var complaints bytes.Buffer
	program.Stderr = &complaints
	return feedTo(program, &complaints, func(w io.Writer) error { return feeding(cmd.Context(), bus.NewJetStream(js, nil), w) })
}

// feedTo starts a program, feeds it, and says how it ended: a refusal of its arguments is wrong use.
func feedTo(program *exec.Cmd, complaints *bytes.Buffer, feed func(io.Writer) error) error {
	in, err := program.StdinPipe()
	if err != nil {
		return err
	}
	if err := program.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program.Path, err)
	}
	fed := errors.Join(feed(in), in.Close())
	err = program.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == exitUsage:
		return wrongUse{complaint(complaints.Bytes(), err)}
	case err != nil:
		return complaint(complaints.Bytes(), err)
	}
	return fed
}

// complaint is what a service's program says in its log when it ends.
func complaint(log []byte, err error) error {
	var said struct {
		Error string `json:"error"`
	}
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	if json.Unmarshal(lines[len(lines)-1], &said) == nil && said.Error != "" {
		return errors.New(said.Error)
	}
	return fmt.Errorf("failover-arbiter: %w: %.500s", err, bytes.TrimSpace(log))
}

// replayer reads a stream's past in its order; *bus.JetStream does.
type replayer interface {
	Replay(ctx context.Context, wanted bus.Range, visit func(bus.Replayed) error) error
}

// feed writes the events of a range, one a line, as events replay -o json does.
func feed(ctx context.Context, stream replayer, wanted bus.Range, w io.Writer, chosen func(bus.Replayed) bool) error {
	return stream.Replay(ctx, wanted, func(r bus.Replayed) error {
		if r.Err != nil || !chosen(r) {
			return nil //nolint:nilerr // what is no event is skipped, as a consumer skips it
		}
		return printEvent(w, r, true)
	})
}

// feedInTime writes the failovers and the observations of a time in the order in which they were stored. Failovers from before it say who was active when it began.
func feedInTime(ctx context.Context, stream replayer, from, to time.Time, w io.Writer) error {
	var facts []bus.Replayed
	err := stream.Replay(ctx, bus.Range{Stream: events.StreamFacts, Types: []events.Type{events.TypeFailoverStarted, events.TypeFailoverPromoted}, To: to}, func(r bus.Replayed) error {
		if r.Err == nil {
			facts = append(facts, r)
		}
		return nil
	})
	if err != nil {
		return err
	}
	before := func(limit time.Time) error {
		for len(facts) > 0 && facts[0].Stored.Before(limit) {
			if err := printEvent(w, facts[0], true); err != nil {
				return err
			}
			facts = facts[1:]
		}
		return nil
	}
	observed := bus.Range{Stream: events.StreamHealth, Types: []events.Type{events.TypeHealthObserved, events.TypeReplicationObserved}, From: from, To: to}
	err = stream.Replay(ctx, observed, func(r bus.Replayed) error {
		if r.Err != nil {
			return nil //nolint:nilerr // what is no event is skipped, as a consumer skips it
		}
		if err := before(r.Stored); err != nil {
			return err
		}
		return printEvent(w, r, true)
	})
	if err != nil {
		return err
	}
	return before(to)
}

var _ replayer = (*bus.JetStream)(nil)
