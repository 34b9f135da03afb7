package warehouse

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

// delta is what a micro-batch has of one dataset: a working table of typed rows.
type delta struct {
	plan  vault.Plan
	spool vault.Spool
	bad   int64 // rows that could not be read
}

// read makes the typed rows of each dataset, before the load's transaction: of what a transaction has written itself, the engine reads with one thread only.
func (w *Warehouse) read(ctx context.Context, s *spooling, r *Result) ([]delta, error) {
	if err := s.list(ctx, w.conn); err != nil {
		return nil, err
	}
	var all []delta
	for _, p := range w.plans {
		d := delta{plan: p, spool: s.of(p.Dataset.Name)}
		if len(d.spool.Typed)+len(d.spool.Other) == 0 {
			continue
		}
		if _, err := w.conn.ExecContext(ctx, p.Read(d.spool)); err != nil {
			return nil, fmt.Errorf("read dataset %s: %w", p.Dataset.Name, err)
		}
		if err := w.measure(ctx, &d, r); err != nil {
			return nil, fmt.Errorf("read dataset %s: %w", p.Dataset.Name, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// measure finds how many rows could not be read, and the range of the keys: those that could not are among them as far as their keys could.
func (w *Warehouse) measure(ctx context.Context, d *delta, r *Result) error {
	p := d.plan
	var good int64
	if err := w.conn.QueryRowContext(ctx, p.CountGood()).Scan(&good); err != nil {
		return err
	}
	d.bad = r.Read[p.Dataset.Name].Rows - r.Rejected[p.Dataset.Name] - good
	query := p.Range()
	if query == "" {
		return nil
	}
	var low, high *int64
	if err := w.conn.QueryRowContext(ctx, query).Scan(&low, &high); err != nil {
		return err
	}
	d.plan = p.Within(low, high)
	return nil
}

// list tells the engine of the files.
func (s *spooling) list(ctx context.Context, conn *sql.Conn) error {
	if _, err := conn.ExecContext(ctx, vault.FilesDDL()); err != nil {
		return fmt.Errorf("list files: %w", err)
	}
	for _, f := range s.files {
		_, err := conn.ExecContext(ctx, fmt.Sprintf("INSERT INTO %s VALUES (?, ?, ?, ?::UHUGEINT, ?)", vault.Files), f.number, f.Ready.Sequence, kindOf(f.Ready), AsOf(f.Ready.AsOf).String(), f.Ready.RawURL)
		if err != nil {
			return fmt.Errorf("list files: %w", err)
		}
	}
	return nil
}

// stage brings the delta's observations in, but where it is the first one and the short way does.
func (w *Warehouse) stage(ctx context.Context, tx *sql.Tx, d delta, r *Result) (first bool, err error) {
	p := d.plan
	if err := run(ctx, tx, p.NoneBad()); err != nil {
		return false, err
	}
	if d.bad > 0 {
		r.Rejected[p.Dataset.Name] += d.bad
		if err := run(ctx, tx, p.DropBad(), p.Rejected(d.spool, r.Load), p.Bad(d.spool)); err != nil {
			return false, err
		}
	}
	if d.bad == 0 { // else something is to be said of their keys
		if first, err = w.first(ctx, tx, p); err != nil || first {
			return first, err
		}
	}
	return false, run(ctx, tx, p.Observe(r.Load)...)
}

// first says whether the short way does: nothing is known of the dataset, and no row of the delta stands beside another of its key.
func (w *Warehouse) first(ctx context.Context, tx *sql.Tx, p vault.Plan) (bool, error) {
	known, err := number(ctx, tx, p.IsEmpty())
	if err != nil || known > 0 {
		return false, err
	}
	more, err := number(ctx, tx, p.IsPlain())
	return more == 0, err
}
