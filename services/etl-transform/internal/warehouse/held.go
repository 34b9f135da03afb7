package warehouse

import (
	"context"
	"fmt"
)

// Held is a check that found something in a mart: rows that it keeps out, the mart that it holds back, or what it only warns of.
type Held struct {
	Mart, Check, Severity string
	Failing               int64
	Amount                string // of the rows that are kept out; empty when there are none, or the mart has no amount
	Blocks                bool   // the mart is what an older load has left
	Reason                string // why it is held back
}

// Held lists what the checks have found by the snapshot's load, in order of mart and check.
func (s *Snapshot) Held(ctx context.Context) ([]Held, error) {
	rows, err := s.tx.QueryContext(ctx, `WITH found AS (
			SELECT c.mart, c.name, c.severity, c.failing, m.blocked_by IS NOT NULL AS blocks, coalesce(m.reason, '') AS reason
			FROM etl_check AS c LEFT JOIN etl_mart AS m ON m.mart = c.mart AND m.blocked_by = c.name WHERE c.failing > 0
			UNION ALL SELECT mart, blocked_by, 'error', 0, true, coalesce(reason, '') FROM etl_mart WHERE blocked_by IS NOT NULL AND (mart, blocked_by) NOT IN (SELECT (mart, name) FROM etl_check)
		)
		SELECT mart, name, severity, failing, coalesce(CASE WHEN severity = 'error' THEN
			(SELECT CAST(sum(CAST(q.amount AS DECIMAL(38,2))) AS VARCHAR) FROM etl_quarantine AS q WHERE q.layer = 'mart' AND q.name = f.mart AND starts_with(q.reason, f.name || ': ')) END, ''), blocks, reason
		FROM found AS f ORDER BY mart, name`)
	if err != nil {
		return nil, fmt.Errorf("read what checks hold back: %w", err)
	}
	defer rows.Close()
	var all []Held
	for rows.Next() {
		var h Held
		if err := rows.Scan(&h.Mart, &h.Check, &h.Severity, &h.Failing, &h.Amount, &h.Blocks, &h.Reason); err != nil {
			return nil, fmt.Errorf("read what checks hold back: %w", err)
		}
		all = append(all, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read what checks hold back: %w", err)
	}
	return all, nil
}
