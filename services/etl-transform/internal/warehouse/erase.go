package warehouse

import (
	"context"
	"fmt"
	"strings"
)

// HasRead says whether the ledger has one of these raw files, by their SHA-256, from a record before the given one: then their rows are in the warehouse.
func (w *Warehouse) HasRead(ctx context.Context, sums []string, before int64) (bool, error) {
	if len(sums) == 0 {
		return false, nil
	}
	args := []any{before}
	for _, sum := range sums {
		args = append(args, sum)
	}
	var found bool
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(sums)), ", ")
	err := w.db.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) > 0 FROM etl_batch WHERE sequence < ? AND sha256 IN (%s)", marks), args...).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("read ledger: %w", err)
	}
	return found, nil
}

// TokenVersion names the key that the warehouse is made by.
func (w *Warehouse) TokenVersion() string { return w.o.TokenVersion }
