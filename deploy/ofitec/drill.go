package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events/state"
)

func newDrill() *cobra.Command {
	command := &cobra.Command{
		Use: "drill", Short: "Do harm to the running stack on purpose, and measure what follows",
		RunE:             func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: undisturbed,
	}
	command.AddCommand(newRegionLoss(), newRestore())
	for _, k := range allKinds() {
		command.AddCommand(newFault(k))
	}
	command.AddCommand(newHeal())
	return command
}

// lossOptions say how a region is lost and what is demanded of the rest.
type lossOptions struct {
	region    layout.Region
	how       control.LossRequest
	within    time.Duration // for the failover
	maxOutage time.Duration
	settle    time.Duration // how long the writers go on afterwards
	killAt    string        // phase at whose first sight the elected arbiter is killed; empty for none
}

// lossReport is what a loss of a region showed.
type lossReport struct {
	Region      layout.Region   `json:"region"`
	Survivor    layout.Region   `json:"survivor"` // the region that has the writes afterwards
	Moved       bool            `json:"moved"`    // whether the writes had to move: the region was the active one
	How         control.Loss    `json:"loss"`
	Mode        string          `json:"mode,omitempty"` // how commits were held
	Times       recovery        `json:"times"`
	Names       []staleTail     `json:"names,omitempty"` // where the writes moved: clients that still had the old address, by where they stand
	LossSeconds *float64        `json:"loss_bound_seconds"`
	LossBytes   *int64          `json:"loss_bound_bytes"`
	Timeline    []timelineEntry `json:"timeline"`
	Writes      writesReport    `json:"writes"`
	Machine     strain          `json:"machine"`
	LeaderKill  *leaderKill     `json:"leader_killed,omitempty"`
	Checks      []check         `json:"checks"`
	OK          bool            `json:"ok"`
}

func newRegionLoss() *cobra.Command {
	options := lossOptions{}
	yes := false
	command := &cobra.Command{
		Use:   "region-loss REGION",
		Short: "Lose a whole region while writers count what is acknowledged; exits 1 unless the business goes on",
		Long: `Kill every process of a region with SIGKILL, PostgreSQL's descendants until none is left, and keep them dead until "ofitec drill restore".
Before it, writers put entries into the ledger through the doors of both data regions and remember what was acknowledged; meanwhile the time is
taken of every step of the failover, of the name and of its last stale client.
--black-hole pulls the region's cable first, so that nobody hears of the deaths; it needs a stack started with up --netns.
--destroy removes the region's folders, as if its disks were gone: database, etcd member, bus, services' state. Its identities and its logs are kept.
At a terminal it asks first; a script is taken at its word.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options.region = layout.Region(args[0])
			return runRegionLoss(cmd, yes, options)
		},
	}
	flags := command.Flags()
	flags.BoolVar(&options.how.BlackHole, "black-hole", false, "cut the region's network before the kill (needs up --netns)")
	flags.BoolVar(&options.how.Destroy, "destroy", false, "remove the region's folders, as if its disks were gone")
	flags.StringVar(&options.killAt, "kill-leader-at", "", "kill the elected arbiter too, in the middle of the failover: when the state is seen in phase intent, fenced, promoted or switched first")
	flags.BoolVar(&yes, "yes", false, "do not ask; without a terminal nothing is asked anyway")
	flags.DurationVar(&options.within, "within", time.Minute, "how long the failover may take before the drill gives up")
	flags.DurationVar(&options.maxOutage, "max-outage", 12*time.Second, "longest time without an acknowledged write that is accepted")
	flags.DurationVar(&options.settle, "settle", 3*time.Second, "how long the writers go on afterwards")
	outputFlag(command)
	return command
}

func runRegionLoss(cmd *cobra.Command, yes bool, options lossOptions) error {
	inJSON, err := asJSON(cmd)
	if err != nil {
		return err
	}
	if err := regionArgument(string(options.region)); err != nil {
		return err
	}
	if options.killAt != "" && !slices.Contains(state.Phases[1:], state.Phase(options.killAt)) {
		return wrongUse{fmt.Errorf("--kill-leader-at %q: must be intent, fenced, promoted or switched", options.killAt)}
	}
	o, client, err := running(cmd)
	if err != nil {
		return err
	}
	if err := confirm(cmd, yes, options); err != nil {
		return err
	}
	progress := cmd.OutOrStdout()
	if inJSON {
		progress = cmd.ErrOrStderr()
	}
	result, err := regionLoss(cmd.Context(), o, client, options, progress)
	if err != nil {
		return err
	}
	return tellVerdict(cmd, inJSON, result, result.OK)
}

func regionArgument(name string) error {
	for _, r := range layout.Regions {
		if string(r) == name {
			return nil
		}
	}
	return wrongUse{fmt.Errorf("region %q: must be a, b or c", name)}
}

// confirm says which harm will be done, and asks where somebody sits at a terminal. Where nobody does, the command itself is the intent.
func confirm(cmd *cobra.Command, yes bool, options lossOptions) error {
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Every process of region %s will be killed%s.\n", options.region, options.harm())
	if yes || !isTerminal(cmd.InOrStdin()) {
		return nil
	}
	_, _ = fmt.Fprint(cmd.ErrOrStderr(), "Type the region's name to go on: ")
	line, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.TrimSpace(line) != string(options.region) {
		return errors.New("not confirmed; nothing was done")
	}
	return nil
}

// harm is what happens to the region beside the death of its processes.
func (o lossOptions) harm() string {
	text := ""
	if o.how.BlackHole {
		text += ", its network cut off first"
	}
	if o.how.Destroy {
		text += ", its folders removed"
	}
	return text
}

// isTerminal says whether somebody may sit at the other end. /dev/null is a character device too, so the kernel is asked for the terminal's settings.
func isTerminal(input io.Reader) bool {
	file, ok := input.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// running opens a stack that runs.
func running(cmd *cobra.Command) (*operator, *control.Client, error) {
	l, err := local.Open(dataFolder(cmd))
	if err != nil {
		return nil, nil, err
	}
	client := control.NewClient(l.ControlSocket())
	if _, err := client.Status(cmd.Context()); err != nil {
		return nil, nil, fmt.Errorf("data folder %s: %w; start it with: ofitec up --data %s", l.Root, err, l.Root)
	}
	o, err := newOperator(l)
	return o, client, err
}

func (r lossReport) print(w io.Writer) error {
	_, _ = fmt.Fprintln(w)
	if err := printTimeline(w, r.Timeline); err != nil {
		return err
	}
	if r.Moved {
		bound := "unknown"
		if r.LossSeconds != nil && r.LossBytes != nil {
			bound = fmt.Sprintf("at most %.1f s, %d bytes", *r.LossSeconds, *r.LossBytes)
		}
		_, _ = fmt.Fprintf(w, "\n%s\n%s\nloss bound at the decision: %s\n", r.Times, tailsText(r.Names), bound)
	}
	_, _ = fmt.Fprintf(w, "\nwithout an acknowledged write for %.2f s; acknowledged %v, refused or unanswered by door %v; %d acknowledged writes had not been replicated\n\n",
		r.Writes.Outage, r.Writes.Acknowledged, r.Writes.Refused, r.Writes.LostTail)
	_, _ = fmt.Fprintf(w, "%s\n", r.Machine)
	if r.LeaderKill != nil {
		_, _ = fmt.Fprintf(w, "%s\n\n", r.LeaderKill)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range r.Checks {
		word := "ok"
		if !c.OK {
			word = "FAILED"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", word, c.What, c.Detail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nregion %s stays down; bring it back with: ofitec drill restore %s\n", r.Region, r.Region)
	return err
}
