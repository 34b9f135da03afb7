package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// service is the name under which the warehouse speaks on the bus.
const service = "etl-transform"

var _ bus.Store = (*Warehouse)(nil)

// outboxPart bounds what Pending gives at once.
const outboxPart = 200

// Pending implements bus.Store.
func (w *Warehouse) Pending(ctx context.Context) ([]bus.Entry, error) {
	found, err := w.db.QueryContext(ctx, "SELECT id, data FROM etl_outbox ORDER BY id LIMIT ?", outboxPart)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	defer found.Close()
	var entries []bus.Entry
	for found.Next() {
		var id int64
		var data string
		if err := found.Scan(&id, &data); err != nil {
			return nil, fmt.Errorf("read outbox: %w", err)
		}
		entries = append(entries, bus.Entry{Key: strconv.FormatInt(id, 10), Data: []byte(data)})
	}
	return entries, found.Err()
}

// Done implements bus.Store.
func (w *Warehouse) Done(ctx context.Context, entry bus.Entry) error {
	id, err := strconv.ParseInt(entry.Key, 10, 64)
	if err != nil {
		return fmt.Errorf("clear outbox: entry %q is none of it", entry.Key)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.transaction(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM etl_outbox WHERE id = ?", id)
		return err
	})
}

// announce puts what is to be told of a load into the outbox and gives the first of it. It is caused by the last of the load's files.
func (w *Warehouse) announce(ctx context.Context, tx *sql.Tx, s *spooling, r *Result, total events.Volume, now time.Time) (first events.Event, err error) {
	load := events.Load{Region: w.o.Region, Load: r.Load, Sequence: r.Sequence}
	loaded := events.WarehouseLoaded{Load: load, Read: total, Written: r.Volume, Loaded: now, Restated: r.Restated, Seconds: map[string]float64{}}
	for stage, seconds := range r.Seconds {
		loaded.Seconds[stage] = seconds
	}
	for _, m := range r.Marts {
		if len(m.Restated) > 0 {
			if loaded.RestatedBy == nil {
				loaded.RestatedBy = map[string][]string{}
			}
			loaded.RestatedBy[m.Mart] = m.Restated
		}
	}
	var cause events.Event
	for _, f := range s.files {
		loaded.Batches = append(loaded.Batches, f.Event.ID)
		cause = f.Event
	}
	return w.tell(ctx, tx, append([]events.Payload{loaded}, w.audited(r, now)...), now, events.CausedBy(cause))
}

// audited is what the checks have found in the marts of a load.
func (w *Warehouse) audited(r *Result, now time.Time) []events.Payload {
	load := events.Load{Region: w.o.Region, Load: r.Load, Sequence: r.Sequence}
	checked := events.WarehouseChecked{Load: load, Checked: now, Version: w.o.Models.Version()}
	var payloads []events.Payload
	for _, m := range r.Marts {
		checked.Marts = append(checked.Marts, events.CheckCount{Mart: m.Mart, Passed: m.Passed, Failed: m.Failed, Warned: m.Warned, Quarantined: m.Quarantined, Missing: m.Missing})
		if m.BlockedBy != "" {
			payloads = append(payloads, events.WarehouseRejected{Load: load, Mart: m.Mart, Check: m.BlockedBy, Reason: m.Reason, Failing: m.Failing, Rejected: now, Kept: m.Kept})
		}
	}
	return append(payloads, checked)
}

// tell puts events into the outbox and gives the first of them.
func (w *Warehouse) tell(ctx context.Context, tx *sql.Tx, payloads []events.Payload, now time.Time, because events.Option) (first events.Event, err error) {
	for n, payload := range payloads {
		event, err := events.New(events.Origin{Region: w.o.Region, Service: service}, now, payload, because)
		if err != nil {
			return first, err
		}
		if n == 0 {
			first = event
		}
		if err := put(ctx, tx, event); err != nil {
			return first, err
		}
	}
	return first, nil
}
