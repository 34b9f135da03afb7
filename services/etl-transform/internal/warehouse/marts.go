package warehouse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
	"github.com/ofitec/ofitec/services/etl-transform/internal/check"
)

// martError is what was wrong with one mart.
type martError struct {
	mart string
	err  error
}

func (e *martError) Error() string { return "refresh mart " + e.mart + ": " + e.err.Error() }
func (e *martError) Unwrap() error { return e.err }

// refresh computes anew what the touched datasets feed, checks it, and puts it in place. A mart that is blocked stays as it is.
func (w *Warehouse) refresh(ctx context.Context, tx *sql.Tx, o occasion, r *Result) error {
	changed := map[string]change{} // marts
	if err := run(ctx, tx, digests); err != nil {
		return err
	}
	for _, m := range w.o.Models.Marts() {
		state, err := w.martState(ctx, tx, m.Name)
		if err != nil {
			return err
		}
		if state.load == 0 {
			if err := run(ctx, tx, makeLog(m)); err != nil {
				return &martError{m.Name, err}
			}
		}
		due, reach := due(m, o, changed, state)
		if !due && (!state.failed || o.without[m.Name] || !w.attempts.may(m.Name, time.Now())) {
			continue
		}
		began := time.Now()
		result := MartResult{Mart: m.Name, Kept: state.load, Failed: 1, BlockedBy: byRefresh, Reason: "it could not be computed; the log of etl-transform says why"}
		if o.without[m.Name] {
			err = w.saveMart(ctx, tx, result, state.load)
		} else {
			result, changed[m.Name], err = w.refreshOne(ctx, tx, m, reach, state, r.Load)
		}
		if err != nil {
			return &martError{m.Name, err}
		}
		if result.BlockedBy != byRefresh {
			delete(w.attempts, m.Name)
		}
		r.Marts = append(r.Marts, result)
		w.o.Log.DebugContext(ctx, "mart is refreshed", "mart", m.Name, "whole", reach.whole, "rows", result.Rows, "restated", len(result.Restated), "seconds", time.Since(began).Seconds())
	}
	return nil
}

type martState struct {
	load    int64 // that the mart shows; 0 for none
	blocked bool
	failed  bool // it is blocked because it could not be computed
}

func (w *Warehouse) martState(ctx context.Context, tx *sql.Tx, mart string) (martState, error) {
	var s martState
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(load), 0), coalesce(bool_or(blocked_by IS NOT NULL), false), coalesce(bool_or(blocked_by = ?), false) FROM etl_mart WHERE mart = ?", byRefresh, mart).Scan(&s.load, &s.blocked, &s.failed)
	if err != nil {
		return s, fmt.Errorf("read state of mart %s: %w", mart, err)
	}
	return s, nil
}

func (w *Warehouse) refreshOne(ctx context.Context, tx *sql.Tx, m models.Mart, r reach, s martState, load int64) (MartResult, change, error) {
	result := MartResult{Mart: m.Name, Kept: s.load}
	checks := check.Of(w.o.Models.Checks(), m.Name)
	tests := check.Rows(check.Errors(checks))
	r.sums = r.sums && len(tests) == 0 // what a check keeps out of the mart is not in the sums
	place, err := w.make(ctx, tx, m, &r)
	if err != nil {
		return result, none, err
	}
	outcomes, err := w.tableChecks(ctx, tx, m, checks, place, r, &result)
	if err != nil {
		return result, none, err
	}
	if result.BlockedBy != "" {
		if place == m.Name {
			err = run(ctx, tx, "DELETE FROM "+m.Name)
		}
		return result, none, errors.Join(err, w.saveMart(ctx, tx, result, s.load), w.saveOutcomes(ctx, tx, m.Name, outcomes, load))
	}
	if err := w.keepOut(ctx, tx, m, tests, place, r, load); err != nil {
		return result, none, err
	}
	changed := whole
	if place != m.Name {
		if changed, err = w.apply(ctx, tx, m, r); err != nil {
			return result, none, err
		}
	}
	if changed == some {
		if result.Restated, err = w.restated(ctx, tx, m); err != nil {
			return result, none, err
		}
	}
	if err := w.note(ctx, tx, m, changed, s.load, load); err != nil {
		return result, none, err
	}
	rows, err := w.count(ctx, tx, checks, &result)
	if err != nil {
		return result, none, err
	}
	result.Kept = load
	return result, changed, errors.Join(w.saveMart(ctx, tx, result, load), w.saveOutcomes(ctx, tx, m.Name, append(outcomes, rows...), load))
}

// make computes the rows and says in which table they are: the candidate, or the mart itself where it is empty, since a copy of all rows beside it would cost as much again.
func (w *Warehouse) make(ctx context.Context, tx *sql.Tx, m models.Mart, r *reach) (string, error) {
	if r.whole {
		before, err := number(ctx, tx, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s LIMIT 1)", m.Name))
		if err != nil {
			return "", err
		}
		if before == 0 {
			return m.Name, run(ctx, tx, fmt.Sprintf("INSERT INTO %s BY NAME SELECT * FROM (%s) AS m", m.Name, m.SQL))
		}
	}
	return candidate, narrowed{m}.compute(ctx, tx, r)
}

// keepOut puts the rows that fail a test into the quarantine instead.
func (w *Warehouse) keepOut(ctx context.Context, tx *sql.Tx, m models.Mart, tests []check.RowTest, place string, r reach, load int64) error {
	if err := run(ctx, tx, fmt.Sprintf("DELETE FROM etl_quarantine WHERE layer = 'mart' AND name = %s AND %s", canon.Literal(m.Name), r.quarantined(m))); err != nil || len(tests) == 0 {
		return err
	}
	failing, err := number(ctx, tx, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s", place, check.AnyFailing(tests)))
	if err != nil || failing == 0 {
		return err
	}
	var statements []string
	for _, t := range tests {
		statements = append(statements, quarantine(m, t, place, load))
	}
	return run(ctx, tx, append(statements, fmt.Sprintf("DELETE FROM %s WHERE %s", place, check.AnyFailing(tests)))...)
}

// outcome is what a check found in a mart: a row of etl_check.
type outcome struct {
	check   models.Check
	failing int64
}

// note counts an outcome.
func (r *MartResult) note(o outcome) {
	switch {
	case o.failing == 0:
		r.Passed++
	case o.check.Severity == models.Warns:
		r.Warned++
	default:
		r.Failed++
	}
}

// tableChecks looks at the mart as it would be. The first error holds it back.
func (w *Warehouse) tableChecks(ctx context.Context, tx *sql.Tx, m models.Mart, checks []models.Check, place string, r reach, result *MartResult) ([]outcome, error) {
	failing := check.AnyFailing(check.Rows(check.Errors(checks)))
	anew := fmt.Sprintf("(SELECT * FROM %s WHERE NOT (%s))", place, failing)
	all := anew
	if !r.whole {
		all = fmt.Sprintf("(SELECT * FROM %s WHERE NOT (%s) UNION ALL BY NAME SELECT * FROM %s WHERE NOT (%s))", candidate, failing, m.Name, r.only(m))
	}
	var outcomes []outcome
	for _, c := range checks {
		if c.Kind.OfRows() {
			continue
		}
		relation := all
		if c.Kind == models.Unique && c.Severity != models.Warns && slices.Contains(c.Columns, m.Key) {
			relation = anew // rows of other keys are none of the same, and passed when they came
		}
		rows, err := number(ctx, tx, check.Table(c, relation))
		if err != nil {
			return nil, err
		}
		o := outcome{c, rows}
		outcomes = append(outcomes, o)
		result.note(o)
		if rows > 0 && c.Severity != models.Warns && result.BlockedBy == "" {
			result.BlockedBy, result.Failing = c.Name(), rows
			result.Reason = fmt.Sprintf("%d rows break %s", rows, c.Name())
		}
	}
	return outcomes, nil
}

// saveOutcomes replaces what the checks have found before.
func (w *Warehouse) saveOutcomes(ctx context.Context, tx *sql.Tx, mart string, outcomes []outcome, load int64) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM etl_check WHERE mart = ?", mart); err != nil {
		return fmt.Errorf("write outcome of checks: %w", err)
	}
	for _, o := range outcomes {
		if _, err := tx.ExecContext(ctx, "INSERT INTO etl_check VALUES (?, ?, ?, ?, ?)", mart, o.check.Name(), string(o.check.Severity), o.failing, load); err != nil {
			return fmt.Errorf("write outcome of checks: %w", err)
		}
	}
	return nil
}

// quarantine keeps the rows that fail a test, with the reason.
func quarantine(m models.Mart, t check.RowTest, place string, load int64) string {
	grain := make([]string, len(m.Grain))
	for i, column := range m.Grain {
		grain[i] = fmt.Sprintf("coalesce(CAST(%s AS VARCHAR), '')", canon.Quote(column))
	}
	key, amount := "NULL", "NULL"
	if m.Key != "" {
		key = canon.Quote(m.Key)
	}
	if m.Amount != "" {
		amount = fmt.Sprintf("CAST(%s AS VARCHAR)", canon.Quote(m.Amount))
	}
	return fmt.Sprintf(`INSERT INTO etl_quarantine (layer, name, row_key, hk, column_name, value, reason, amount, load)
SELECT 'mart', %s, %s, %s, %s, left(CAST(%s AS VARCHAR), 200), %s, %s, %d FROM %s WHERE %s`, canon.Literal(m.Name), strings.Join(grain, " || '|' || "), key, canon.Literal(t.Column),
		canon.Quote(t.Column), canon.Literal(t.Check.Name()+": "+t.Reason), amount, load, place, t.Failing)
}

// count tells what the checks of rows found in the mart as it is now.
func (w *Warehouse) count(ctx context.Context, tx *sql.Tx, checks []models.Check, result *MartResult) ([]outcome, error) {
	var err error
	if result.Rows, err = number(ctx, tx, "SELECT count(*) FROM "+result.Mart); err != nil {
		return nil, err
	}
	var missing sql.NullString
	err = tx.QueryRowContext(ctx, `SELECT count(*), CAST(sum(CAST(amount AS DECIMAL(38,2))) AS VARCHAR) FROM (
		SELECT row_key, any_value(amount) AS amount FROM etl_quarantine WHERE layer = 'mart' AND name = ? GROUP BY row_key)`, result.Mart).Scan(&result.Quarantined, &missing)
	if err != nil {
		return nil, fmt.Errorf("count quarantine of %s: %w", result.Mart, err)
	}
	result.Missing = missing.String
	var outcomes []outcome
	for _, c := range checks {
		if !c.Kind.OfRows() {
			continue
		}
		o := outcome{check: c}
		if c.Severity == models.Warns { // its rows are in the mart
			o.failing, err = number(ctx, tx, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s", result.Mart, check.AnyFailing(check.Rows([]models.Check{c}))))
		} else {
			o.failing, err = number(ctx, tx, "SELECT count(*) FROM etl_quarantine WHERE layer = 'mart' AND name = ? AND starts_with(reason, ?)", result.Mart, c.Name()+": ")
		}
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, o)
		result.note(o)
	}
	return outcomes, nil
}

func (w *Warehouse) saveMart(ctx context.Context, tx *sql.Tx, r MartResult, load int64) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM etl_mart WHERE mart = ?", r.Mart); err != nil {
		return fmt.Errorf("write state of mart %s: %w", r.Mart, err)
	}
	_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO etl_mart SELECT ?, ?, count(*), nullif(?, ''), nullif(?, '') FROM %s", r.Mart), r.Mart, load, r.BlockedBy, r.Reason)
	if err != nil {
		return fmt.Errorf("write state of mart %s: %w", r.Mart, err)
	}
	return nil
}
