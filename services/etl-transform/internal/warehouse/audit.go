package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
	"github.com/ofitec/ofitec/services/etl-transform/internal/check"
)

// Finding is what a check says of a table as it would be now, before anything is kept out.
type Finding struct {
	Table    string   `json:"table"`
	Check    string   `json:"check"`
	Severity string   `json:"severity"`
	Column   string   `json:"column,omitempty"`
	Failing  int64    `json:"failing"`
	Rows     []string `json:"rows,omitempty"` // keys of some of them
	Reason   string   `json:"reason,omitempty"`
}

// shownRows is how many rows of a failing check are named.
const shownRows = 10

// checkSQL is what a check asks of its table.
func checkSQL(c models.Check) string {
	if c.Kind.OfRows() {
		return fmt.Sprintf("SELECT count(*) FROM %s WHERE %s", c.Table, check.AnyFailing(check.Rows([]models.Check{c})))
	}
	return check.Table(c, c.Table)
}

// Checks are those of the models.
func (w *Warehouse) Checks() []models.Check { return w.o.Models.Checks() }

// Audit runs checks against marts as the vault would make them, and against other tables as they are. Every check gives one finding a column, also when it passes.
func (w *Warehouse) Audit(ctx context.Context, checks []models.Check) ([]Finding, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var findings []Finding
	for _, c := range checks {
		relation, key, err := w.relation(ctx, c.Table)
		if err != nil {
			return nil, fmt.Errorf("check %s of %s: %w", c.Name(), c.Table, err)
		}
		found, err := w.audit(ctx, c, relation, key)
		if err != nil {
			return nil, fmt.Errorf("check %s of %s: %w", c.Name(), c.Table, err)
		}
		findings = append(findings, found...)
	}
	return findings, nil
}

// relation is what a check looks at, and an expression that names a row of it.
func (w *Warehouse) relation(ctx context.Context, table string) (relation, key string, err error) {
	i := slices.IndexFunc(w.o.Models.Marts(), func(m models.Mart) bool { return m.Name == table })
	if i >= 0 {
		m := w.o.Models.Marts()[i]
		return "(" + m.SQL + ")", keyText(m.Grain), nil
	}
	columns, err := columnsOf(ctx, w.db, table)
	if err != nil {
		return "", "", err
	}
	return canon.Quote(table), keyText([]string{columns[0].Name}), nil
}

// keyText names a row; hashes as the UUIDs that readers see.
func keyText(columns []string) string {
	parts := make([]string, len(columns))
	for i, name := range columns {
		text := "CAST(" + canon.Quote(name) + " AS VARCHAR)"
		if strings.HasPrefix(name, "hk_") {
			text = "CAST(CAST(" + uuid(canon.Quote(name)) + " AS UUID) AS VARCHAR)"
		}
		parts[i] = fmt.Sprintf("%s || coalesce(%s, 'NULL')", canon.Literal(name+"="), text)
	}
	return strings.Join(parts, " || ' ' || ")
}

func (w *Warehouse) audit(ctx context.Context, c models.Check, relation, key string) ([]Finding, error) {
	base := Finding{Table: c.Table, Check: c.Name(), Severity: string(c.Severity)}
	if !c.Kind.OfRows() {
		base.Column = strings.Join(c.Columns, ", ")
		if err := w.conn.QueryRowContext(ctx, check.Table(c, relation)).Scan(&base.Failing); err != nil {
			return nil, err
		}
		if base.Failing == 0 {
			return []Finding{base}, nil
		}
		base.Reason = fmt.Sprintf("%d rows break %s", base.Failing, c.Name())
		query := naming(c, relation)
		if query == "" {
			return []Finding{base}, nil
		}
		var err error
		base.Rows, err = texts(ctx, w.conn, fmt.Sprintf("%s ORDER BY 1 LIMIT %d", query, shownRows))
		return []Finding{base}, err
	}
	var findings []Finding
	for _, t := range check.Rows([]models.Check{c}) {
		f := base
		f.Column = t.Column
		if err := w.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM %s AS r WHERE %s", relation, t.Failing)).Scan(&f.Failing); err != nil {
			return nil, err
		}
		if f.Failing > 0 {
			f.Reason = t.Reason
			var err error
			query := fmt.Sprintf("SELECT %s || ': ' || coalesce(left(CAST(%s AS VARCHAR), 80), 'NULL') FROM %s AS r WHERE %s ORDER BY 1 LIMIT %d", key, canon.Quote(t.Column), relation, t.Failing, shownRows)
			if f.Rows, err = texts(ctx, w.conn, query); err != nil {
				return nil, err
			}
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// naming asks for texts that say what a check on the whole table has found; empty where there is nothing to name but the table.
func naming(c models.Check, relation string) string {
	switch c.Kind {
	case models.SQL: // whatever it gives is wrong, so that is what is named
		return fmt.Sprintf("SELECT CAST(r AS VARCHAR) FROM (%s) AS r", strings.ReplaceAll(c.Query, "{table}", relation))
	case models.Reconcile:
		return fmt.Sprintf("SELECT coalesce(month, 'without a date') || ': ' || n || ' rows, ' || s || '; the source has ' || there_n || ', ' || there_s FROM (%s)", check.Months(c, relation))
	case models.Unique:
		group := make([]string, len(c.Columns))
		for i, name := range c.Columns {
			group[i] = canon.Quote(name)
		}
		return fmt.Sprintf("SELECT %s || ' x ' || count(*) FROM %s AS r GROUP BY %s HAVING count(*) > 1", keyText(c.Columns), relation, strings.Join(group, ", "))
	}
	return ""
}

func texts(ctx context.Context, conn *sql.Conn, query string) ([]string, error) {
	found, err := conn.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("run %.60q: %w", query, err)
	}
	defer found.Close()
	var all []string
	for found.Next() {
		var text sql.NullString
		if err := found.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text.String)
	}
	return all, found.Err()
}
