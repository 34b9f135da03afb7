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
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// warehouseCommand is one that etl-transform does for a region, on its own files.
type warehouseCommand struct {
	name  string // of etl-transform's subcommand
	input []byte
	env   []string
	// asOperator lets it be done by whoever calls, and not as the service's user, who has not the right.
	asOperator bool
}

// regionFlag lets a command choose whose warehouse it is about.
func regionFlag(cmd *cobra.Command) {
	cmd.Flags().String("region", "", "a or b: whose warehouse; the active region's by default")
}

// warehouseRegion is the one that was chosen, or the active one.
func (o *operator) warehouseRegion(ctx context.Context, cmd *cobra.Command) (layout.Region, error) {
	chosen, _ := cmd.Flags().GetString("region")
	if chosen == "" {
		return o.activeRegion(ctx)
	}
	if !slices.Contains(layout.DataRegions, layout.Region(chosen)) {
		return "", wrongUse{fmt.Errorf("--region %q: must be a or b", chosen)}
	}
	return layout.Region(chosen), nil
}

// run lets etl-transform do it. What it prints goes to out; a failure that it has told is not told again.
func (c warehouseCommand) run(ctx context.Context, o *operator, r layout.Region, out, complaints io.Writer, args ...string) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	command, err := local.ServiceCommand(ctx, o.layout, filepath.Dir(program), r, "etl-transform", append([]string{c.name}, args...)...)
	if err != nil {
		return err
	}
	command.Env = append(command.Env, c.env...)
	if c.asOperator {
		command.SysProcAttr = nil
	}
	command.Stdout, command.Stderr = out, complaints
	if c.input != nil {
		command.Stdin = bytes.NewReader(c.input)
	}
	var exit *exec.ExitError
	err = command.Run()
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == exitUsage:
		return wrongUse{fmt.Errorf("etl-transform %s of region %s refused its arguments", c.name, r)}
	case errors.As(err, &exit):
		return &failed{}
	}
	return err
}

// passed are a command's flags as etl-transform takes them, those that were given alone.
func passed(cmd *cobra.Command, names ...string) []string {
	var args []string
	for _, name := range names {
		if flag := cmd.Flags().Lookup(name); flag != nil && flag.Changed {
			args = append(args, "--"+name+"="+flag.Value.String())
		}
	}
	if output := cmd.Flags().Lookup("output"); output != nil {
		args = append(args, "-o="+output.Value.String())
	}
	return args
}

// forward is a command that does what etl-transform's subcommand of the same name does.
func forward(command *cobra.Command, flags ...string) *cobra.Command {
	name, _, _ := strings.Cut(command.Use, " ")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		return withOperator(cmd, func(ctx context.Context, o *operator, _ bool) error {
			r, err := o.warehouseRegion(ctx, cmd)
			if err != nil {
				return err
			}
			return warehouseCommand{name: name}.run(ctx, o, r, cmd.OutOrStdout(), cmd.ErrOrStderr(), append(passed(cmd, flags...), args...)...)
		})
	}
	regionFlag(command)
	outputFlag(command)
	return command
}

func newETLRebuild() *cobra.Command {
	command := forward(&cobra.Command{
		Use: "rebuild", Short: "Make a region's warehouse anew from raw files and manifest, beside the one that serves, and put it in its place",
		Long: "Make a region's warehouse anew from raw files and manifest, beside the one that serves, and put it in its place.\n\nA running etl-transform takes it over within seconds; the file before is kept under another name. " +
			"Tokens stay by the key that they are by: rotate-key is for another one.",
	}, "no-swap")
	command.Flags().Bool("no-swap", false, "leave the new file beside the old one, as ofitec.duckdb.rebuilt")
	return command
}

func newETLClose() *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use: "close MONTH", Short: "Freeze what the marts say of a month: as reported, beside what documents restate later", Args: cobra.ExactArgs(1),
		Long: "Freeze what the marts say of a month: as reported, beside what documents restate later.\n\nThe figures become a raw file with a record in the manifest, from which both regions and every rebuild take them. " +
			"The open month is refused, and a closed one: no month is opened again.",
		Example: "  ofitec etl close 2026-10 --reason \"accounts of October approved\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return wrongUse{errors.New("--reason: say why; it stands in the closing")}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, _ bool) error {
				r, err := o.warehouseRegion(ctx, cmd)
				if err != nil {
					return err
				}
				by := act(reason, time.Now())
				said := append(passed(cmd), "--actor="+by.Actor, "--reason="+by.Reason)
				return warehouseCommand{name: "close"}.run(ctx, o, r, cmd.OutOrStdout(), cmd.ErrOrStderr(), append(said, args...)...)
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why; it stands in the closing")
	regionFlag(command)
	outputFlag(command)
	return command
}

func newETLTrace() *cobra.Command {
	command := forward(&cobra.Command{
		Use: "trace MART", Short: "Walk from a cell of a mart back through vault and stage to lines of raw files and their events", Args: cobra.ExactArgs(1),
		Example: "  ofitec etl trace mart_kpi_project --project 42 --month 2026-10 --column gross_margin",
	}, "project", "month", "column")
	command.Flags().String("project", "0", "id of the project; 0 for the unknown one")
	command.Flags().String("month", "", "month, as 2026-10")
	command.Flags().String("column", "", "column of the mart")
	return command
}

func newETLPlan() *cobra.Command {
	command := forward(&cobra.Command{Use: "plan", Short: "Print the SQL of the models, and what of it a region's warehouse was not made by"}, "changes")
	command.Flags().Bool("changes", false, "only what would change")
	return command
}

func newETLQuarantine() *cobra.Command {
	command := forward(&cobra.Command{Use: "quarantine", Short: "List what is kept out of a region's warehouse or marts: row, column, value, reason, raw file and line"}, "of")
	command.Flags().String("of", "", "one dataset or mart")
	return command
}

func newETLReveal() *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use: "reveal TOKEN...", Short: "Show the personal data behind tokens; who looked and why is told on the bus first", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return wrongUse{errors.New("--reason: say why; it stands in the audit trail")}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, _ bool) error {
				r, err := o.warehouseRegion(ctx, cmd)
				if err != nil {
					return err
				}
				// Here the right is root's, who alone can act as the service's user; elsewhere the key is in a file of whoever has the right.
				c := warehouseCommand{name: "reveal", env: []string{"OFITEC_REVEAL_KEY_FILE=" + filepath.Join(o.layout.IdentityDir(r, "etl-transform"), "token.key")}}
				by := act(reason, time.Now())
				said := append(passed(cmd), "--actor="+by.Actor, "--reason="+by.Reason, "--request="+by.Request)
				return c.run(ctx, o, r, cmd.OutOrStdout(), cmd.ErrOrStderr(), append(said, args...)...)
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit trail")
	regionFlag(command)
	outputFlag(command)
	return command
}

func newETLCheck() *cobra.Command {
	var file string
	command := &cobra.Command{
		Use: "check", Short: "Run the checks now: table, column and rows of what fails; status 1 when something does",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, _ bool) error {
				r, err := o.warehouseRegion(ctx, cmd)
				if err != nil {
					return err
				}
				c, args := warehouseCommand{name: "check"}, passed(cmd)
				if file != "" {
					if c.input, err = os.ReadFile(file); err != nil {
						return fmt.Errorf("read --file: %w", err)
					}
					args = append(args, "--file=-")
				}
				return c.run(ctx, o, r, cmd.OutOrStdout(), cmd.ErrOrStderr(), args...)
			})
		},
	}
	command.Flags().StringVar(&file, "file", "", "a checks.yml to run in place of the models' own")
	regionFlag(command)
	outputFlag(command)
	return command
}

func newETLVerify() *cobra.Command {
	command := &cobra.Command{
		Use: "verify", Short: "Print a digest of each table and compare: the two regions' warehouses, or one with what the raw files make",
		Long: "Print a digest of each table and compare the two data regions' warehouses, which are built from the same raw files.\n\nWith --rebuild one region's is compared with a warehouse that is made anew from " +
			"the raw files up to the same record of the manifest. Status 1 when tables differ, or when they cannot be compared: other records of the manifest, models, checks or token key.\n\n" +
			"With --analytics the marts that readers have in PostgreSQL are compared with what was published there: status 1 when somebody else has changed one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error { return verify(ctx, cmd, o, inJSON) })
		},
	}
	command.Flags().Bool("rebuild", false, "compare one region's with what its raw files make")
	command.Flags().Bool("analytics", false, "compare what readers have with what was published")
	regionFlag(command)
	outputFlag(command)
	return command
}

// verifiedRegion is what etl-transform says of a region's warehouse.
type verifiedRegion struct {
	File string `json:"file"`
	Made struct {
		Rules    string `json:"rules"`
		Models   string `json:"models"`
		TokenKey string `json:"token_key"`
		Load     int64  `json:"load"`
		Sequence int64  `json:"manifest_sequence"`
		Erasures int64  `json:"erasures"` // that it knows of
	} `json:"made"`
	Digests map[string]string `json:"digests"`
	Tables  []string          `json:"tables"`
}

func verify(ctx context.Context, cmd *cobra.Command, o *operator, inJSON bool) error {
	c := warehouseCommand{name: "verify"}
	anew, _ := cmd.Flags().GetBool("rebuild")
	readers, _ := cmd.Flags().GetBool("analytics")
	if chosen, _ := cmd.Flags().GetString("region"); anew || readers || chosen != "" {
		r, err := o.warehouseRegion(ctx, cmd)
		if err != nil {
			return err
		}
		return c.run(ctx, o, r, cmd.OutOrStdout(), cmd.ErrOrStderr(), passed(cmd, "rebuild", "analytics")...)
	}
	found := map[layout.Region]verifiedRegion{}
	for _, r := range layout.DataRegions {
		var out bytes.Buffer
		if err := c.run(ctx, o, r, &out, cmd.ErrOrStderr(), "-o=json"); err != nil {
			return err
		}
		var v verifiedRegion
		if err := json.Unmarshal(out.Bytes(), &v); err != nil {
			return fmt.Errorf("read the answer of etl-transform of region %s: %w", r, err)
		}
		found[r] = v
	}
	verdict := judgeRegions(found[layout.A], found[layout.B])
	if inJSON {
		if err := writeJSON(cmd.OutOrStdout(), map[string]any{"regions": found, "verdict": verdict}); err != nil {
			return err
		}
	} else {
		printRegions(cmd.OutOrStdout(), found, verdict)
	}
	if !verdict.Equal {
		return &failed{}
	}
	return nil
}

// regionsVerdict is what comes of comparing two regions' warehouses.
type regionsVerdict struct {
	Equal  bool     `json:"equal"`
	Why    string   `json:"why,omitempty"`
	Differ []string `json:"differ,omitempty"`
}

// judgeRegions compares digests of warehouses that were made by the same rules from the same records.
func judgeRegions(a, b verifiedRegion) regionsVerdict {
	var other []string
	for _, part := range []struct{ name, a, b string }{
		{"rules", a.Made.Rules, b.Made.Rules}, {"models and checks", a.Made.Models, b.Made.Models}, {"token key", a.Made.TokenKey, b.Made.TokenKey},
		{"manifest record", fmt.Sprint(a.Made.Sequence), fmt.Sprint(b.Made.Sequence)}, {"erasures", fmt.Sprint(a.Made.Erasures), fmt.Sprint(b.Made.Erasures)},
	} {
		if part.a != part.b {
			other = append(other, fmt.Sprintf("%s %s and %s", part.name, part.a, part.b))
		}
	}
	if len(other) > 0 {
		return regionsVerdict{Why: "they cannot be compared: " + strings.Join(other, ", ")}
	}
	v := regionsVerdict{}
	for _, table := range a.Tables {
		if a.Digests[table] != b.Digests[table] {
			v.Differ = append(v.Differ, table)
		}
	}
	v.Equal = len(v.Differ) == 0 && len(a.Tables) == len(b.Tables)
	if !v.Equal {
		v.Why = "tables differ: " + strings.Join(v.Differ, ", ")
	}
	return v
}

func printRegions(out io.Writer, found map[layout.Region]verifiedRegion, v regionsVerdict) {
	for _, r := range layout.DataRegions {
		m := found[r].Made
		_, _ = fmt.Fprintf(out, "region %s: %s: load %d, manifest record %d; rules %s, models and checks %s, token key %s\n", r, found[r].File, m.Load, m.Sequence, m.Rules, m.Models, m.TokenKey)
	}
	for _, table := range found[layout.A].Tables {
		_, _ = fmt.Fprintf(out, "%-36s %s\n", table, found[layout.A].Digests[table])
	}
	if v.Equal {
		_, _ = fmt.Fprintf(out, "all %d tables of the two regions are equal\n", len(found[layout.A].Tables))
		return
	}
	_, _ = fmt.Fprintln(out, "NOT EQUAL:", v.Why)
}
