package manifest

import (
	"context"
	"errors"
	"fmt"
)

// add adds a record that no export brought at the manifest's end, which is looked for from a record on that is known to be there. meet sees every record from there on, in order, and again
// when somebody else was faster; its error ends the attempt. fill says what the record is, or why there is to be none; it is as fresh as the one before it, for it says nothing about the source.
func add(ctx context.Context, shelf Keeper, root string, from int64, taken error, meet func(record) error, fill func(*record) error) (record, error) {
	for {
		last, hash, err := end(ctx, shelf, from, meet)
		if err != nil {
			return record{}, err
		}
		w := record{Version: version, Sequence: last.Sequence + 1, Previous: hash, Region: last.Region, Format: "csv", AsOf: last.AsOf}
		if err := fill(&w); err != nil {
			return record{}, err
		}
		a, _, err := w.announced(root)
		if err != nil {
			return record{}, fmt.Errorf("add manifest record %d: %w", w.Sequence, err) // one that cannot be announced would be in everybody's way
		}
		w.EventID = a.Event.ID
		line, err := seal(w)
		if err != nil {
			return record{}, err
		}
		err = shelf.Add(ctx, Name(w.Sequence), line)
		if errors.Is(err, taken) {
			continue // somebody has added a record: look again what it is
		}
		if err != nil {
			return record{}, fmt.Errorf("add manifest record %d: %w", w.Sequence, err)
		}
		return w, nil
	}
}

// end walks to the last record.
func end(ctx context.Context, shelf Shelf, from int64, meet func(record) error) (last record, hash string, err error) {
	for sequence := from; ; sequence++ {
		line, there, err := shelf.Read(ctx, Name(sequence))
		if err != nil {
			return last, "", err
		}
		if !there && sequence == from {
			return last, "", fmt.Errorf("read manifest record %s: %w", Name(sequence), ErrNoRecord)
		}
		if !there {
			return last, hash, nil
		}
		r, h, err := open(line)
		switch {
		case err == nil && r.Sequence != sequence:
			err = fmt.Errorf("%w: it says that it is number %d", ErrBroken, r.Sequence)
		case err == nil && sequence > from && r.Previous != hash:
			err = fmt.Errorf("%w: it follows on %s, the record before is %s", ErrBroken, r.Previous, hash)
		}
		if err != nil {
			return last, "", fmt.Errorf("read manifest record %s: %w", Name(sequence), err)
		}
		if err := meet(r); err != nil {
			return last, "", err
		}
		last, hash = r, h
	}
}
