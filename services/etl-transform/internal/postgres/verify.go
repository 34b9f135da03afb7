package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Altered is a mart that readers do not have as it was published: somebody else has changed it.
type Altered struct{ Mart, Why string }

// Due says that what was last done then is to be done again: it is longer ago than every, or was done by a clock that was ahead.
func Due(last, now time.Time, every time.Duration) bool {
	return last.After(now) || !last.After(now.Add(-every))
}

// Look compares all that readers have with what was published, by the digests, and changes nothing. It names those, too, that were found before and are not replaced yet. Marts whose columns are
// other ones than those given are left out: they wait for a publication.
func (s *Server) Look(ctx context.Context, marts []Mart) (altered []Altered, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fmt.Errorf("connect to analytics: %w", err)
	}
	defer closeSoon(ctx, conn)
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("begin to verify: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // it has changed nothing
	seen, err := current(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, m := range marts {
		if slices.Contains(seen.Waiting, m.Name) {
			altered = append(altered, Altered{m.Name, "it was found so before, and waits for the next publication to replace it"})
		}
	}
	found, err := look(ctx, conn, marts)
	for _, a := range found {
		altered = append(altered, a.Altered)
	}
	return altered, err
}

// Verify compares them when that is due, and lets the next publication replace what it finds. It says when it was last done, in either case.
func (s *Server) Verify(ctx context.Context, now time.Time, every time.Duration, marts []Mart) (altered []Altered, last time.Time, err error) {
	conn, err := pgx.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, last, fmt.Errorf("connect to analytics: %w", err)
	}
	defer closeSoon(ctx, conn)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, last, fmt.Errorf("begin to verify: %w", err)
	}
	defer func() { _ = tx.Rollback(ctx) }() // does nothing after a commit
	// Nobody publishes meanwhile, not even the other region.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('ofitec etl publication'))"); err != nil {
		return nil, last, fmt.Errorf("begin to verify: %w", err)
	}
	if _, err := conn.Exec(ctx, bookkeeping); err != nil {
		return nil, last, fmt.Errorf("make tables of the publication: %w", err)
	}
	err = conn.QueryRow(ctx, "SELECT coalesce(max(verified_at), 'epoch') FROM etl_verification").Scan(&last)
	if err != nil {
		return nil, last, fmt.Errorf("read when it was verified: %w", err)
	}
	if !Due(last, now, every) {
		return nil, last, nil
	}
	found, err := look(ctx, conn, marts)
	if err != nil {
		return nil, last, err
	}
	for _, a := range found {
		altered = append(altered, a.Altered)
		// What has lost its form is made anew, what has other rows gets them back under whoever reads.
		if _, err := conn.Exec(ctx, "UPDATE etl_published_mart SET digest = '', columns = CASE WHEN $2 THEN '' ELSE columns END WHERE mart = $1", a.Mart, a.form); err != nil {
			return nil, last, fmt.Errorf("let %s be replaced: %w", a.Mart, err)
		}
	}
	if _, err := conn.Exec(ctx, "INSERT INTO etl_verification (verified_at) VALUES ($1) ON CONFLICT (only_one) DO UPDATE SET verified_at = EXCLUDED.verified_at", now); err != nil {
		return nil, last, fmt.Errorf("write when it was verified: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, last, fmt.Errorf("end verification: %w", err)
	}
	return altered, now, nil
}

// found is a mart that is not as it was published; form says that its table is not even read as what it was.
type found struct {
	Altered
	form bool
}

func look(ctx context.Context, conn *pgx.Conn, marts []Mart) (all []found, err error) {
	for _, m := range marts {
		var digest string
		err := conn.QueryRow(ctx, "SELECT digest FROM etl_published_mart WHERE mart = $1 AND columns = $2 AND digest <> ''", m.Name, definition(m.Columns)).Scan(&digest)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what was published of %s: %w", m.Name, err)
		}
		query, known := sums(m.Columns, pgx.Identifier{m.Name}.Sanitize())
		if !known {
			continue
		}
		have, err := askAside(ctx, conn, query)
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused) && refused.Code[:2] == "42": // no such table or column, or one of another type
			all = append(all, found{Altered{m.Name, refused.Message}, true})
		case err != nil:
			return nil, fmt.Errorf("verify %s: %w", m.Name, err)
		case have.String() != digest:
			all = append(all, found{Altered{m.Name, fmt.Sprintf("readers have digest %s, published was %s", have, digest)}, false})
		}
	}
	return all, nil
}

// askAside lets a query fail without the transaction.
func askAside(ctx context.Context, conn *pgx.Conn, query string) (have tally, err error) {
	if _, err := conn.Exec(ctx, "SAVEPOINT look"); err != nil {
		return have, err
	}
	have, err = ask(ctx, conn, query)
	_, ended := conn.Exec(ctx, "ROLLBACK TO SAVEPOINT look; RELEASE SAVEPOINT look")
	return have, errors.Join(err, ended)
}
