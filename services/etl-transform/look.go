package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// planned is what `plan` tells.
type planned struct {
	File        string                 `json:"file"` // "" when there is none yet
	Models      string                 `json:"models"`
	Definitions []warehouse.Definition `json:"definitions"`
	Change      bool                   `json:"change"`
}

// runPlan prints the SQL of the models, and what of it is not what the warehouse was made by.
func runPlan(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("plan")
	var changes bool
	a.BoolVar(&changes, "changes", false, "only what would change")
	if _, err := a.read(args, 0); err != nil {
		return err
	}
	m, err := models.Open(c.Models)
	if err != nil {
		return fmt.Errorf("read OFITEC_MODELS: %w", err)
	}
	p := planned{Models: m.Version()}
	if p.File, p.Definitions, err = c.plan(ctx, m); err != nil {
		return err
	}
	shown := p.Definitions[:0:0]
	for _, d := range p.Definitions {
		p.Change = p.Change || d.Change != ""
		if d.Change != "" || !changes {
			shown = append(shown, d)
		}
	}
	p.Definitions = shown
	return a.print(out, p, p.write)
}

// plan compares with the file, or the readers' copy of it; all is new when there is none.
func (c *Config) plan(ctx context.Context, m *models.Models) (string, []warehouse.Definition, error) {
	for _, path := range []string{c.file(), snapshotFile(c.snapshots())} {
		db, err := duckdb.Open(ctx, path, c.engine(true))
		if errors.Is(err, duckdb.ErrInUse) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		defer func() { _ = db.Close() }()
		definitions, err := warehouse.Plan(ctx, db, m)
		return path, definitions, err
	}
	definitions, err := warehouse.Definitions(m)
	for i := range definitions {
		definitions[i].Change = "new"
	}
	return "", definitions, err
}

func (p planned) write(out io.Writer) {
	for _, d := range p.Definitions {
		state := d.Change
		if state == "" {
			state = "as it is"
		}
		fmt.Fprintf(out, "-- %s %s (%s): %s\n%s\n\n", d.Kind, d.Name, d.File, state, d.SQL)
	}
	switch {
	case p.File == "":
		fmt.Fprintf(out, "-- there is no warehouse yet: all of it would be made (models %s)\n", p.Models)
	case p.Change:
		fmt.Fprintf(out, "-- %s was made by other models: at its next start the service puts it aside and makes a new one from the raw files; `rebuild` makes it beforehand, while the old one serves\n", p.File)
	default:
		fmt.Fprintf(out, "-- nothing would change in %s (models %s)\n", p.File, p.Models)
	}
}

// errChecksFail makes check end with status 1.
var errChecksFail = errors.New("checks fail")

// runCheck runs the checks of the models, or of a file, against what the vault says now.
func runCheck(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("check")
	var file string
	a.StringVar(&file, "file", "", "checks to run in place of those of the models")
	if _, err := a.read(args, 0); err != nil {
		return err
	}
	var checks []models.Check
	if file != "" {
		var err error
		if checks, err = readChecks(file); err != nil {
			return err
		}
	}
	r, err := c.openReading(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if file == "" {
		checks = r.Checks()
	}
	findings, err := r.Audit(ctx, checks)
	if err != nil {
		return err
	}
	if err := a.print(out, findings, func(out io.Writer) { writeFindings(out, r, findings) }); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Failing > 0 && f.Severity == string(models.Fails) {
			return errChecksFail
		}
	}
	return nil
}

// readChecks reads a file of checks; - is what comes in.
func readChecks(file string) ([]models.Check, error) {
	name, read := filepath.Base(file), func() ([]byte, error) { return os.ReadFile(file) }
	if file == "-" {
		name, read = "checks.yml", func() ([]byte, error) { return io.ReadAll(os.Stdin) }
	}
	text, err := read()
	if err != nil {
		return nil, fmt.Errorf("read --file: %w", err)
	}
	checks, problems := models.ParseChecks(name, text)
	if len(problems) > 0 {
		return nil, &models.InvalidError{Problems: problems}
	}
	return checks, nil
}

func writeFindings(out io.Writer, r *reading, findings []warehouse.Finding) {
	failing := 0
	for _, f := range findings {
		if f.Failing == 0 {
			continue
		}
		failing++
		fmt.Fprintf(out, "%s: %s: %s: column %s: %d rows: %s\n", f.Severity, f.Table, f.Check, f.Column, f.Failing, f.Reason)
		for _, row := range f.Rows {
			fmt.Fprintln(out, "   ", row)
		}
		if more := f.Failing - int64(len(f.Rows)); len(f.Rows) > 0 && more > 0 {
			fmt.Fprintf(out, "    and %d more\n", more)
		}
	}
	fmt.Fprintf(out, "%d of %d tests fail (%s, load %d)\n", failing, len(findings), r.Path, r.Made.Load)
}

// runTrace walks from a cell of a mart back to lines of raw files.
func runTrace(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("trace")
	var cell warehouse.Cell
	var month string
	a.StringVar(&cell.Project, "project", "0", "id of the project; 0 for the unknown one")
	a.StringVar(&month, "month", "", "month, as 2026-10")
	a.StringVar(&cell.Column, "column", "", "column of the mart")
	words, err := a.read(args, 1)
	if err != nil {
		return err
	}
	cell.Mart = words[0]
	var wrong error
	if cell.Month, wrong = time.Parse("2006-01", month); wrong != nil || cell.Column == "" {
		return &chassis.UsageError{Reason: fmt.Sprintf("trace: want --column NAME and --month as 2026-10, not %q and %q", cell.Column, month)}
	}
	r, err := c.openReading(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	traced, err := r.Trace(ctx, cell)
	if err != nil {
		return err
	}
	return a.print(out, traced, func(out io.Writer) { writeTrace(out, r, traced) })
}

func writeTrace(out io.Writer, r *reading, traced warehouse.Traced) {
	fmt.Fprintf(out, "%s, load %d, manifest record %d\n", r.Path, r.Made.Load, r.Made.Sequence)
	for _, s := range traced.Steps {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(out, "%s.%s = %s, made of %s", s.Mart, s.Column, value, s.MadeOf)
		if s.Agrees != nil {
			verdict := "which is NOT the value"
			if *s.Agrees {
				verdict = "which is the value"
			}
			fmt.Fprintf(out, ": together %s, %s", s.Sum, verdict)
		}
		fmt.Fprintln(out)
		for _, row := range traced.Rows {
			if row.For != s.Mart+"."+s.Column {
				continue
			}
			amount := ""
			if row.Amount != "" {
				amount = " " + row.Amount
			}
			fmt.Fprintf(out, "  %s %s version %d%s, written %s\n    line %d of %s\n    sha256 %s, manifest record %d, event %s, asof %s, load %d\n", strings.TrimPrefix(row.Satellite, "vault_s_"), row.Key, row.Version,
				amount, row.Cursor, row.Raw.Line, row.Raw.URL, row.Raw.SHA256, row.Raw.Sequence, row.Raw.Event, row.Raw.AsOf, row.Raw.Load)
		}
	}
}
