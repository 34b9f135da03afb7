package warehouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

// Cell is a value that is to be traced: a column of a mart, for a project, in a month.
type Cell struct {
	Mart    string
	Column  string
	Project string    // id; "" or "0" for the unknown project
	Month   time.Time // any day of it
}

// Traced is where a cell comes from, step by step.
type Traced struct {
	Steps []Step `json:"steps"`
	Rows  []Row  `json:"rows"`
}

// Step is a value on the way: of the cell, or of a column that it is made of.
type Step struct {
	Mart   string `json:"mart"`
	Column string `json:"column"`
	Value  string `json:"value"` // NULL when there is none
	// MadeOf says how it goes on; Sum is what the rows of a dataset add up to, and Agrees that it is the value.
	MadeOf string `json:"made_of"`
	Sum    string `json:"sum,omitempty"`
	Agrees *bool  `json:"agrees,omitempty"`
}

// Row is a current version in the vault, with the observation in stage and the record of a raw file behind it.
type Row struct {
	For       string `json:"for"` // mart.column that it is part of
	Satellite string `json:"satellite"`
	Key       string `json:"key"`
	Version   int    `json:"version"`
	Amount    string `json:"amount,omitempty"`
	Cursor    string `json:"write_date"`
	Raw       Origin `json:"raw"`
}

// Origin is a line of a raw file and the event that told of the file.
type Origin struct {
	URL      string `json:"url"`
	SHA256   string `json:"sha256"`
	Line     int64  `json:"line"`
	Sequence int64  `json:"manifest_sequence"`
	Batch    string `json:"batch"`
	Event    string `json:"event_id"`
	AsOf     string `json:"asof"`
	Load     int64  `json:"load"`
}

// ErrNoCell says that the mart has no such row or column.
var ErrNoCell = errors.New("there is no such cell")

// tracer goes down from one cell.
type tracer struct {
	w       *Warehouse
	project string // expression of its key; "" for all of them
	month   string // literal of its last day
	result  Traced
	seen    map[string]bool
}

// Trace walks from a cell back through marts, vault and stage to the raw files.
func (w *Warehouse) Trace(ctx context.Context, c Cell) (Traced, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := canon.Zero
	if c.Project != "" && c.Project != "0" {
		key = canon.HashKey(canon.Part{Text: canon.Literal(strings.TrimSpace(c.Project)), Kind: models.Integer})
	}
	last := time.Date(c.Month.Year(), c.Month.Month()+1, 0, 0, 0, 0, 0, time.UTC)
	t := &tracer{w: w, project: key, month: "DATE '" + last.Format(time.DateOnly) + "'", seen: map[string]bool{}}
	if columns, err := columnsOf(ctx, w.db, c.Mart); err == nil && !slices.ContainsFunc(columns, func(c canon.Column) bool { return c.Name == "hk_project" }) {
		t.project = "" // a mart of the whole company
	}
	if err := t.mart(ctx, c.Mart, c.Column, ""); err != nil {
		return Traced{}, fmt.Errorf("trace %s of %s: %w", c.Column, c.Mart, err)
	}
	return t.result, nil
}

func (t *tracer) model(name string) (models.Mart, error) {
	all := t.w.o.Models.Marts()
	i := slices.IndexFunc(all, func(m models.Mart) bool { return m.Name == name })
	if i < 0 {
		names := make([]string, len(all))
		for n, m := range all {
			names[n] = m.Name
		}
		return models.Mart{}, fmt.Errorf("%w: no mart %q, only %s", ErrNoCell, name, strings.Join(names, ", "))
	}
	return all[i], nil
}

// mart goes on from a column of a mart, or from a name under which the mart says what another mart's value is made of: that value then.
func (t *tracer) mart(ctx context.Context, name, column, value string) error {
	if t.seen[name+"."+column] {
		return nil
	}
	t.seen[name+"."+column] = true
	m, err := t.model(name)
	if err != nil {
		return err
	}
	columns, err := columnsOf(ctx, t.w.db, name)
	if err != nil {
		return err
	}
	step := Step{Mart: name, Column: column, Value: value}
	trace, declared := m.Trace(column)
	if slices.ContainsFunc(columns, func(c canon.Column) bool { return c.Name == column }) {
		if step.Value, err = t.value(ctx, m, columns, column); err != nil {
			return err
		}
	} else if !declared {
		return fmt.Errorf("%w: mart %s has no column %q", ErrNoCell, name, column)
	}
	at := len(t.result.Steps)
	t.result.Steps = append(t.result.Steps, step)
	switch {
	case !declared:
		return t.reads(ctx, m, at)
	case len(trace.From) > 0:
		t.result.Steps[at].MadeOf = strings.Join(trace.From, ", ")
		for _, other := range trace.From {
			if err := t.mart(ctx, name, other, ""); err != nil {
				return err
			}
		}
		return nil
	case trace.Mart != "":
		other := column
		if trace.As != "" {
			other = trace.As
		}
		t.result.Steps[at].MadeOf = trace.Mart + "." + other
		return t.mart(ctx, trace.Mart, other, step.Value)
	}
	t.result.Steps[at].MadeOf = "rows of " + trace.Dataset
	return t.dataset(ctx, trace, at)
}

// value is the cell's. A mart with several rows of the project in the month gives the sum.
func (t *tracer) value(ctx context.Context, m models.Mart, columns []canon.Column, column string) (string, error) {
	conditions := []string{"true"}
	for _, c := range columns {
		switch {
		case c.Name == "hk_project" && t.project != "":
			conditions = append(conditions, fmt.Sprintf("hk_project = %s", t.project))
		case c.Type == "DATE" && (c.Name == "month_end" || c.Name == "date" || c.Name == "period"):
			conditions = append(conditions, fmt.Sprintf("last_day(%s) = %s", c.Name, t.month))
		}
	}
	from := fmt.Sprintf("FROM %s WHERE %s", m.Name, strings.Join(conditions, " AND "))
	rows, err := texts(ctx, t.w.conn, fmt.Sprintf("SELECT CAST(%s AS VARCHAR) %s LIMIT 2", canon.Quote(column), from))
	switch {
	case err != nil:
		return "", err
	case len(rows) == 0:
		return "", fmt.Errorf("%w: mart %s has no row of that project and month", ErrNoCell, m.Name)
	case len(rows) == 1 && rows[0] == "":
		return "NULL", nil
	case len(rows) == 1:
		return rows[0], nil
	}
	sign := ""
	if slices.ContainsFunc(columns, func(c canon.Column) bool { return c.Name == "sign" }) {
		sign = " * sign"
	}
	rows, err = texts(ctx, t.w.conn, fmt.Sprintf("SELECT CAST(sum(TRY_CAST(%s AS DECIMAL(30,2))%s) AS VARCHAR) %s", canon.Quote(column), sign, from))
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0], nil
}

// reads goes on to everything that a mart reads, where its model does not say more.
func (t *tracer) reads(ctx context.Context, m models.Mart, at int) error {
	t.result.Steps[at].MadeOf = "whatever the mart reads: " + strings.Join(m.Reads, ", ")
	for _, read := range m.Reads {
		if strings.HasPrefix(read, "mart_") {
			other, err := t.model(read)
			if err != nil || t.seen[read+".*"] {
				continue
			}
			t.seen[read+".*"] = true
			t.result.Steps = append(t.result.Steps, Step{Mart: read, Column: "*"})
			if err := t.reads(ctx, other, len(t.result.Steps)-1); err != nil {
				return err
			}
			continue
		}
		if err := t.dataset(ctx, models.Trace{Dataset: read, Where: "true"}, at); err != nil {
			return err
		}
	}
	return nil
}

// rowsSQL asks for the current versions, the observations that they are, and the files that brought them.
func (t *tracer) rowsSQL(p vault.Plan, trace models.Trace) string {
	project := "true"
	switch {
	case t.project == "":
	case p.Vault.Key == "hk_project":
		project = "s.hk_project = " + t.project
	case slices.ContainsFunc(p.Vault.Links, func(l models.Link) bool { return l.Key == "hk_project" }):
		project = fmt.Sprintf("coalesce(s.hk_project, 0) = %s", t.project)
	}
	amount := "NULL"
	if trace.Amount != "" {
		amount = "CAST((" + trace.Amount + ") AS VARCHAR)"
	}
	fill := func(text string) string { return strings.ReplaceAll(text, "{month_end}", t.month) }
	cursor := canon.Quote(p.Dataset.Cursor)
	return fmt.Sprintf(`WITH chosen AS (SELECT s.*, %s AS _amount FROM %s AS s WHERE s.is_current AND NOT s.is_deleted AND %s AND (%s))
SELECT CAST(c.%s AS VARCHAR), c.version, coalesce(c._amount, ''), coalesce(CAST(c.%s AS VARCHAR), ''), coalesce(b.raw_url, ''), coalesce(b.sha256, ''), o.raw_line, o.raw_sequence,
	coalesce(b.batch, ''), coalesce(b.event_id, ''), coalesce(CAST(b.asof_clock AS VARCHAR), ''), o.load
FROM chosen AS c JOIN %[9]s AS o ON o.%[7]s = c.%[7]s AND o.hashdiff = c.hashdiff AND o.%[6]s IS NOT DISTINCT FROM c.%[6]s
LEFT JOIN etl_batch AS b ON b.sequence = o.raw_sequence AND b.dataset = %[8]s
ORDER BY c.%[5]s`, fill(amount), p.Vault.Satellite, project, fill(trace.Where), canon.Quote(p.Dataset.Key), cursor, p.Vault.Key, canon.Literal(p.Dataset.Name), p.Stage())
}

// dataset lists the rows, each with its way back, and adds them up where the model says how.
func (t *tracer) dataset(ctx context.Context, trace models.Trace, at int) error {
	i := slices.IndexFunc(t.w.plans, func(p vault.Plan) bool { return p.Dataset.Name == trace.Dataset })
	if i < 0 || !t.w.plans[i].Kept {
		return nil
	}
	p := t.w.plans[i]
	found, err := t.w.conn.QueryContext(ctx, t.rowsSQL(p, trace))
	if err != nil {
		return fmt.Errorf("find rows of %s: %w", p.Dataset.Name, err)
	}
	defer found.Close()
	step := &t.result.Steps[at]
	sum := new(big.Rat)
	for found.Next() {
		r := Row{For: step.Mart + "." + step.Column, Satellite: p.Vault.Satellite}
		var line, load sql.NullInt64
		if err := found.Scan(&r.Key, &r.Version, &r.Amount, &r.Cursor, &r.Raw.URL, &r.Raw.SHA256, &line, &r.Raw.Sequence, &r.Raw.Batch, &r.Raw.Event, &r.Raw.AsOf, &load); err != nil {
			return fmt.Errorf("find rows of %s: %w", p.Dataset.Name, err)
		}
		r.Raw.Line, r.Raw.Load = line.Int64, load.Int64
		if part, ok := new(big.Rat).SetString(r.Amount); ok {
			sum.Add(sum, part)
		}
		t.result.Rows = append(t.result.Rows, r)
	}
	if trace.Amount != "" {
		step.Sum = sum.FloatString(2)
		value, ok := new(big.Rat).SetString(step.Value)
		agrees := ok && value.Cmp(sum) == 0 || step.Value == "" // a trace that is no column has no value to agree with
		step.Agrees = &agrees
	}
	return found.Err()
}
