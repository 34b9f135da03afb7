package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

func newFailover() *cobra.Command {
	command := &cobra.Command{
		Use: "failover", Short: "Move the writes by hand, hold the arbiters back, and read what they did",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(
		newManual(manual{verb: state.VerbSwitchover, moves: true,
			short: "Move the writes to the other region, as planned: no acknowledged write is lost"}),
		newManual(manual{verb: state.VerbOverride, moves: true,
			short: "Take the failover that a rule holds back; what may be lost is in failover.overridden"}),
		newManual(manual{verb: state.VerbPause, short: "Let the arbiters decide nothing; a failover under way is finished"}),
		newManual(manual{verb: state.VerbResume, short: "Let the arbiters decide again"}),
		newManual(manual{verb: state.VerbAcknowledge, short: "Say that the last failover was seen; its cooldown ends"}),
		newManual(manual{verb: state.VerbSynchronous, short: "Let each commit wait until the standby has it (on), or no longer (off)"}),
		newHistory(),
		newExplain(),
		newFailoverReplay(),
	)
	return command
}

// manual is one of the manual acts.
type manual struct {
	verb  state.Verb
	moves bool // it names a region, and is done when that one is active
	short string
}

// planned says whether the act loses nothing and holds nobody back, so that it may go without a reason of its own. For all others somebody will want to know.
func (m manual) planned() bool { return m.verb == state.VerbSwitchover }

// byHand is the reason of a planned act for which none is given.
const byHand = "asked for by hand"

// manualFlags are what the operator says.
type manualFlags struct {
	to, reason, attest   string
	mode                 state.SyncMode
	dryRun               bool
	pauseFor             time.Duration
	answerIn, completeIn time.Duration
	retryFor             time.Duration
}

// passing are the rules of a refusal that looks different a moment later: observations that are missing, not ones that are bad.
var passing = []string{"gates-unknown", "loss-unknown", "blind"}

// outcome is the printed result.
type outcome struct {
	Request  state.Request   `json:"request"`
	Epoch    uint64          `json:"epoch,omitempty"`
	Active   string          `json:"active,omitempty"`
	Timeline []timelineEntry `json:"timeline,omitempty"`
	Error    string          `json:"error,omitempty"`
}

func newManual(m manual) *cobra.Command {
	var given manualFlags
	command := &cobra.Command{
		Use: string(m.verb), Short: m.short,
		Long: m.short + ".\n\nThe request is compared and swapped into etcd and works without the bus. The elected arbiter answers it; one that nobody answers in time is taken back.",
		Args: m.arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				given.mode = state.SyncMode(args[0])
			}
			return m.run(cmd, given)
		},
	}
	m.flags(command, &given)
	outputFlag(command)
	return command
}

// arguments are on or off of the one act that has some; the region is a flag.
func (m manual) arguments(cmd *cobra.Command, args []string) error {
	switch {
	case m.verb == state.VerbSynchronous && len(args) == 0:
		return errors.New("on or off is missing")
	case m.verb == state.VerbSynchronous:
		return cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)(cmd, args)
	case m.moves && len(args) > 0:
		return fmt.Errorf("%q is no argument: the region that takes the writes is given as --to %s", args[0], args[0])
	}
	return cobra.NoArgs(cmd, args)
}

// flags are those that the act takes.
func (m manual) flags(command *cobra.Command, given *manualFlags) {
	flags := command.Flags()
	if m.planned() {
		flags.StringVar(&given.reason, "reason", byHand, "why; it stands in the audit trail for ever")
	} else {
		flags.StringVar(&given.reason, "reason", "", "why; it stands in the audit trail for ever (required)")
	}
	flags.DurationVar(&given.answerIn, "answer-within", 15*time.Second, "how long the elected arbiter may take to answer")
	if m.moves {
		flags.StringVar(&given.to, "to", "", "region that takes the writes: a or b (required)")
		flags.BoolVar(&given.dryRun, "dry-run", false, "ask only whether it would be done")
		flags.DurationVar(&given.completeIn, "within", time.Minute, "how long the change may take")
		flags.DurationVar(&given.retryFor, "retry-for", 20*time.Second, "how long to ask again when it is refused because observations are missing")
	}
	if m.verb == state.VerbOverride {
		flags.StringVar(&given.attest, "attest", "", "to a region that is no standby again: what you have made sure of, such as \"region b is switched off and its disks are lost\"; recorded for ever")
	}
	if m.verb == state.VerbSynchronous {
		command.Use += " on|off"
		command.ValidArgs = []string{string(state.SyncOn), string(state.SyncOff)}
	}
	if m.verb == state.VerbPause {
		flags.DurationVar(&given.pauseFor, "for", 0, "end of the pause, such as 30m; until resumed when not given")
	}
}

// run connects, carries the act out and prints what came of it.
func (m manual) run(cmd *cobra.Command, given manualFlags) error {
	inJSON, err := asJSON(cmd)
	if err != nil {
		return err
	}
	if err := given.check(m); err != nil {
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
	client, err := o.etcd(cmd.Context())
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	progress := io.Discard
	if !inJSON {
		progress = cmd.OutOrStdout()
	}
	result, err := m.carryOut(cmd.Context(), etcdCells{client}, given, progress)
	return report(cmd, inJSON, result, err)
}

func (f manualFlags) check(m manual) error {
	switch {
	case strings.TrimSpace(f.reason) == "" && m.planned():
		return wrongUse{fmt.Errorf("--reason %q: must say why this is done", f.reason)}
	case strings.TrimSpace(f.reason) == "":
		return wrongUse{fmt.Errorf("failover %s: --reason is required: why is this done?", m.verb)}
	case len(f.attest) > 1000:
		return wrongUse{fmt.Errorf("--attest has %d bytes: at most 1000", len(f.attest))}
	case len(f.reason) > 1000:
		return wrongUse{fmt.Errorf("--reason has %d bytes: at most 1000", len(f.reason))}
	case m.moves && !events.Region(f.to).HoldsData():
		return wrongUse{fmt.Errorf("--to %q: must be a or b", f.to)}
	case f.pauseFor < 0:
		return wrongUse{fmt.Errorf("--for %s: must be more than 0", f.pauseFor)}
	}
	return nil
}

// carryOut asks, waits for the answer and, where the writes move, until they have.
func (m manual) carryOut(ctx context.Context, c cells, given manualFlags, progress io.Writer) (outcome, error) {
	before, revision, err := readFailover(ctx, c)
	if err != nil {
		return outcome{}, err
	}
	if before.Active == "" {
		return outcome{}, fmt.Errorf("failover %s: no region has ever held the mandate; is the stack up?", m.verb)
	}
	answered, err := m.ask(ctx, c, given, before.Epoch, progress)
	result := outcome{Request: answered, Epoch: uint64(before.Epoch), Active: string(before.Active)}
	if err != nil {
		return result, err
	}
	request := answered
	if !m.moves || given.dryRun {
		return result, nil
	}
	limited, cancel := context.WithTimeout(ctx, given.completeIn)
	defer cancel()
	seen, err := follow(limited, c, before, revision, request.To)
	last := seen.states[len(seen.states)-1]
	result.Epoch, result.Active = uint64(last.Epoch), string(last.Active)
	marks := append([]mark{{"asked", request.Act.At}, {"accepted", answered.Answer.At}}, seen.marks(uint64(before.Epoch))...)
	result.Timeline = timelineOf(request.Act.At, marks...)
	if err != nil {
		return result, fmt.Errorf("failover %s to %s: %w", m.verb, request.To, err)
	}
	return result, nil
}

// ask hands requests in until one is answered for good.
func (m manual) ask(ctx context.Context, c cells, given manualFlags, epoch events.Epoch, progress io.Writer) (state.Request, error) {
	for began := time.Now(); ; {
		request := state.Request{Verb: m.verb, Epoch: epoch, DryRun: given.dryRun, Mode: given.mode, Attest: given.attest, Act: act(given.reason, time.Now())}
		if m.moves {
			request.To = events.Region(given.to)
		}
		if given.pauseFor > 0 {
			until := request.Act.At.Add(given.pauseFor)
			request.Until = &until
		}
		_, _ = fmt.Fprintf(progress, "asked for %s as request %s, under epoch %d\n", m.verb, request.Act.Request, uint64(epoch))
		answered, err := submit(ctx, c, request, given.answerIn)
		if err != nil {
			return answered, err
		}
		if answered.Answer.Accepted {
			_, _ = fmt.Fprintf(progress, "accepted: %s\n", answered.Answer.Reason)
			return answered, nil
		}
		refused := fmt.Errorf("refused: %s", answered.Answer.Reason)
		rule, _, _ := strings.Cut(answered.Answer.Reason, ":")
		if !slices.Contains(passing, rule) || time.Since(began) >= given.retryFor {
			return answered, refused
		}
		_, _ = fmt.Fprintf(progress, "%v; asking again\n", refused)
		if pause(ctx, time.Second); ctx.Err() != nil {
			return answered, refused
		}
	}
}

// report prints what came out; an error is part of the JSON.
func report(cmd *cobra.Command, inJSON bool, result outcome, err error) error {
	if inJSON {
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
	if len(result.Timeline) > 0 {
		if printing := printTimeline(cmd.OutOrStdout(), result.Timeline); printing != nil {
			return printing
		}
	}
	if err == nil && len(result.Timeline) > 0 {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "region %s is active under epoch %d\n", result.Active, result.Epoch)
	}
	return err
}
