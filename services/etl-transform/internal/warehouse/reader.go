package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

// Made says by what a file was made. Digests can only be compared when all of it but Load is equal.
type Made struct {
	Rules    string `json:"rules"`
	Models   string `json:"models"` // datasets, vault, marts and checks together
	TokenKey string `json:"token_key"`
	Load     int64  `json:"load"`
	Sequence int64  `json:"manifest_sequence"`
	Erasures int64  `json:"erasures"` // of persons, that it knows of
}

// Comparable says whether equal raw files must have given equal digests, and if not, why.
func (m Made) Comparable(other Made) (why string) {
	var differ []string
	for _, part := range []struct{ name, mine, other string }{
		{"rules", m.Rules, other.Rules}, {"models", m.Models, other.Models}, {"token key", m.TokenKey, other.TokenKey},
		{"manifest record", fmt.Sprint(m.Sequence), fmt.Sprint(other.Sequence)}, {"erasures", fmt.Sprint(m.Erasures), fmt.Sprint(other.Erasures)},
	} {
		if part.mine != part.other {
			differ = append(differ, fmt.Sprintf("%s %s and %s", part.name, part.mine, part.other))
		}
	}
	return strings.Join(differ, ", ")
}

// Read opens a file for questions alone. The file must have been made by the models and the key of the options, else the error wraps ErrOtherRules.
func Read(ctx context.Context, db *sql.DB, o Options) (*Warehouse, error) {
	plans, err := vault.Plans(o.Models)
	if err != nil {
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	w := &Warehouse{o: o, db: db, plans: plans}
	w.digests.of = map[string]remembered{}
	if w.conn, err = db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	made, err := MadeBy(ctx, db)
	if err == nil && made.version() != w.version() {
		err = fmt.Errorf("%w: it has %s, want %s", ErrOtherRules, made.version(), w.version())
	}
	if err != nil {
		_ = w.conn.Close()
		return nil, fmt.Errorf("open warehouse: %w", err)
	}
	return w, nil
}

// MadeBy reads it out of any warehouse's file.
func MadeBy(ctx context.Context, db *sql.DB) (Made, error) {
	var m Made
	var version sql.NullString
	err := db.QueryRowContext(ctx, "SELECT (SELECT max(value) FROM etl_state WHERE name = 'version'), coalesce(max(load), 0), coalesce(max(sequence), 0), (SELECT count(*) FROM etl_batch WHERE kind = 'erasure') FROM etl_load").Scan(&version, &m.Load, &m.Sequence, &m.Erasures)
	if err != nil {
		return m, fmt.Errorf("read version: %w", err)
	}
	for part := range strings.SplitSeq(version.String, ", ") {
		name, value, _ := strings.Cut(part, " ")
		switch name {
		case "rules":
			m.Rules = value
		case "models":
			m.Models = value
		case "key":
			m.TokenKey = value
		}
	}
	return m, nil
}

// version is how a file says it.
func (m Made) version() string {
	return fmt.Sprintf("rules %s, models %s, key %s", m.Rules, m.Models, m.TokenKey)
}

// Made says by what this warehouse was made.
func (w *Warehouse) Made(ctx context.Context) (Made, error) { return MadeBy(ctx, w.db) }

// Settle ends the making of a file that stands in for another one: what its loads would tell was told by the other, and the file has all that is in its log.
func (w *Warehouse) Settle(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.transaction(ctx, func(tx *sql.Tx) error { return run(ctx, tx, "DELETE FROM etl_outbox") }); err != nil {
		return err
	}
	return w.checkpoint(ctx)
}

func (w *Warehouse) checkpoint(ctx context.Context) error {
	if _, err := w.conn.ExecContext(ctx, "CHECKPOINT"); err != nil {
		return fmt.Errorf("bring log into file: %w", err)
	}
	return nil
}

// path is where the file is.
func (w *Warehouse) path(ctx context.Context) (string, error) {
	var path string
	err := w.db.QueryRowContext(ctx, "SELECT path FROM duckdb_databases() WHERE database_name = current_database()").Scan(&path)
	if err != nil {
		return "", fmt.Errorf("find warehouse file: %w", err)
	}
	return path, nil
}

// Copy makes a copy of the file that anybody can open, as the last transaction has left it; loads wait for its end. The target gets its name when it is whole.
func (w *Warehouse) Copy(ctx context.Context, target string) (Made, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	made, err := w.Made(ctx)
	if err != nil {
		return made, err
	}
	path, err := w.path(ctx)
	if err != nil {
		return made, err
	}
	if err := w.checkpoint(ctx); err != nil {
		return made, err
	}
	if log, err := os.Stat(path + ".wal"); err == nil && log.Size() > 0 {
		return made, fmt.Errorf("copy warehouse: its log still has %d bytes", log.Size())
	}
	return made, copyFile(ctx, path, target)
}

// quoteFile is a path as a text of SQL.
func quoteFile(path string) string { return "'" + strings.ReplaceAll(path, "'", "''") + "'" }

// WriteParquet writes a mart of the snapshot as one file; keys are UUIDs, as in PostgreSQL. The folder must be there.
func (s *Snapshot) WriteParquet(ctx context.Context, m *MartRows, path string) error {
	fields := make([]string, len(m.Columns))
	for i, c := range m.Columns {
		fields[i] = parquetField(c)
	}
	_, err := s.tx.ExecContext(ctx, fmt.Sprintf("COPY (SELECT %s FROM %s) TO %s (FORMAT parquet, COMPRESSION zstd)", strings.Join(fields, ", "), m.Name, quoteFile(path)))
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// LastKeyChange is the batch of the last change of the token key that is in the ledger; "" when there was none.
func (w *Warehouse) LastKeyChange(ctx context.Context) (string, error) {
	var batch sql.NullString
	err := w.db.QueryRowContext(ctx, "SELECT max_by(batch, sequence) FROM etl_batch WHERE kind = ?", events.KindKey).Scan(&batch)
	if err != nil {
		return "", fmt.Errorf("read ledger: %w", err)
	}
	return batch.String, nil
}
