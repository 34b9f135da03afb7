package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Status is what people want to know of the warehouse.
type Status struct {
	Load        int64           `json:"load"`
	Sequence    int64           `json:"manifest_sequence"`
	LoadedAt    *time.Time      `json:"loaded_at"`
	Published   int64           `json:"published_load"`
	PublishedAt *time.Time      `json:"published_at"`
	Models      string          `json:"models_version"`
	TokenKey    string          `json:"token_key"` // its version
	Outbox      int64           `json:"outbox"`
	Datasets    []DatasetStatus `json:"datasets"`
	Marts       []MartStatus    `json:"marts"`
}

// DatasetStatus is one dataset: living rows, observations of them, and how fresh they are.
type DatasetStatus struct {
	Dataset      string     `json:"dataset"`
	Rows         int64      `json:"rows"`
	Observations int64      `json:"observations"`
	Files        int64      `json:"files"`
	Read         int64      `json:"rows_read"`
	AsOf         *time.Time `json:"asof"`
	Load         int64      `json:"load"`
	LoadedAt     *time.Time `json:"loaded_at"`
	Quarantined  int64      `json:"quarantined"`
}

// MartStatus is one mart.
type MartStatus struct {
	Mart        string `json:"mart"`
	Rows        int64  `json:"rows"`
	Load        int64  `json:"load"`
	BlockedBy   string `json:"blocked_by"`
	Reason      string `json:"reason"`
	Quarantined int64  `json:"quarantined"`
}

// Status reads it as of the last load.
func (w *Warehouse) Status(ctx context.Context) (Status, error) {
	s := Status{Models: w.o.Models.Version(), TokenKey: w.o.TokenVersion, Datasets: []DatasetStatus{}, Marts: []MartStatus{}}
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // it only reads
	var loaded sql.NullTime
	err = tx.QueryRowContext(ctx, "SELECT coalesce(max(load), 0), coalesce(max(sequence), 0), max(loaded_at), (SELECT count(*) FROM etl_outbox) FROM etl_load").Scan(&s.Load, &s.Sequence, &loaded, &s.Outbox)
	if err != nil {
		return s, fmt.Errorf("read status: %w", err)
	}
	s.LoadedAt = moment(loaded)
	var at time.Time
	if s.Published, at, err = w.LastPublished(ctx); err != nil {
		return s, err
	}
	s.PublishedAt = moment(sql.NullTime{Time: at, Valid: !at.IsZero()})
	for _, p := range w.plans {
		if p.Dataset.Own {
			continue // nobody exports it
		}
		d := DatasetStatus{Dataset: p.Dataset.Name}
		living := "SELECT count(*) FROM " + p.Stage()
		if p.Kept {
			living = "SELECT count(*) FROM " + p.Vault.Satellite + " WHERE is_current AND NOT is_deleted"
		}
		var asof, loaded sql.NullTime
		err := tx.QueryRowContext(ctx, fmt.Sprintf(`SELECT (%s), (SELECT count(*) FROM %s), count(*), coalesce(sum(b.rows), 0)::BIGINT, max(b.asof_clock), coalesce(max(b.load), 0), max(l.loaded_at),
			(SELECT count(*) FROM etl_quarantine WHERE layer = 'stage' AND name = $1) FROM etl_batch AS b JOIN etl_load AS l ON l.load = b.load WHERE b.dataset = $1`, living, p.Stage()), p.Dataset.Name).
			Scan(&d.Rows, &d.Observations, &d.Files, &d.Read, &asof, &d.Load, &loaded, &d.Quarantined)
		if err != nil {
			return s, fmt.Errorf("read status of %s: %w", p.Dataset.Name, err)
		}
		d.AsOf, d.LoadedAt = moment(asof), moment(loaded)
		s.Datasets = append(s.Datasets, d)
	}
	for _, m := range w.o.Models.Marts() {
		ms := MartStatus{Mart: m.Name}
		err := tx.QueryRowContext(ctx, `SELECT coalesce(max(rows), 0), coalesce(max(load), 0), coalesce(max(blocked_by), ''), coalesce(max(reason), ''),
			(SELECT count(DISTINCT row_key) FROM etl_quarantine WHERE layer = 'mart' AND name = $1) FROM etl_mart WHERE mart = $1`, m.Name).Scan(&ms.Rows, &ms.Load, &ms.BlockedBy, &ms.Reason, &ms.Quarantined)
		if err != nil {
			return s, fmt.Errorf("read status of %s: %w", m.Name, err)
		}
		s.Marts = append(s.Marts, ms)
	}
	return s, nil
}

func moment(t sql.NullTime) *time.Time {
	if !t.Valid {
		return nil
	}
	at := t.Time.UTC()
	return &at
}
