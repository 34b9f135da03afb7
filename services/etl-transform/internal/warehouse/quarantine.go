package warehouse

import (
	"context"
	"fmt"
)

// Reject is a value, a record or a row of a mart that is kept out.
type Reject struct {
	Layer    string `json:"layer"` // stage or mart
	Name     string `json:"name"`  // dataset or mart
	Row      string `json:"row"`   // key; "" for a record that has none
	Column   string `json:"column"`
	Value    string `json:"value"`
	Reason   string `json:"reason"`
	Amount   string `json:"amount,omitempty"`
	URL      string `json:"raw_url,omitempty"`
	Line     int64  `json:"raw_line,omitempty"`
	Sequence int64  `json:"manifest_sequence,omitempty"`
	Load     int64  `json:"load"`
}

// Quarantine lists what is kept out, of one dataset or mart or of all.
func (w *Warehouse) Quarantine(ctx context.Context, name string) ([]Reject, error) {
	found, err := w.db.QueryContext(ctx, `SELECT layer, name, coalesce(row_key, ''), coalesce(column_name, ''), coalesce(value, ''), reason, coalesce(amount, ''), coalesce(raw_url, ''), coalesce(raw_line, 0),
		coalesce(raw_sequence, 0), load FROM etl_quarantine WHERE $1 = '' OR name = $1 ORDER BY layer DESC, name, raw_sequence, raw_line, row_key, column_name`, name)
	if err != nil {
		return nil, fmt.Errorf("read quarantine: %w", err)
	}
	defer found.Close()
	rejects := []Reject{}
	for found.Next() {
		var r Reject
		if err := found.Scan(&r.Layer, &r.Name, &r.Row, &r.Column, &r.Value, &r.Reason, &r.Amount, &r.URL, &r.Line, &r.Sequence, &r.Load); err != nil {
			return nil, fmt.Errorf("read quarantine: %w", err)
		}
		rejects = append(rejects, r)
	}
	return rejects, found.Err()
}
