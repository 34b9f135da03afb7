package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/ofitec/ofitec/events"
)

// ErrExists is what a Shelf answers when the name is taken.
var ErrExists = errors.New("exists already")

// ErrLaterEpoch is what Append answers when the chain's last record is of a later epoch: another region has taken over.
var ErrLaterEpoch = errors.New("a later epoch has written")

// Shelf keeps small files by name. It must be linearizable for one name: of several Adds at once one wins.
type Shelf interface {
	// Add writes a file durably and completely, or not at all. It returns an error that wraps ErrExists when the name is taken.
	Add(ctx context.Context, name string, content []byte) error
	// Read gives a file's content, and false when there is none.
	Read(ctx context.Context, name string) ([]byte, bool, error)
}

// Chain is the manifest on a shelf. It remembers the end that it has seen. It is not safe for concurrent use by goroutines; processes may share a shelf.
type Chain struct {
	shelf Shelf
	last  int64
	hash  string
	epoch events.Epoch
}

// NewChain makes the chain; the first call to Head finds its end.
func NewChain(shelf Shelf) *Chain { return &Chain{shelf: shelf, hash: Origin} }

// foldersOf keeps a folder from having more files than people like to list.
const foldersOf = 10_000

// Name is where a record is.
func Name(sequence int64) string {
	return fmt.Sprintf("_manifest/%06d/%012d.json", sequence/foldersOf, sequence)
}

// Get reads a record and checks it by itself.
func (c *Chain) Get(ctx context.Context, sequence int64) (r Record, hash string, found bool, err error) {
	line, found, err := c.shelf.Read(ctx, Name(sequence))
	if err != nil || !found {
		return r, "", false, err
	}
	r, hash, err = Open(line)
	if err == nil && r.Sequence != sequence {
		err = fmt.Errorf("%w: the record says that it is number %d", ErrBroken, r.Sequence)
	}
	if err != nil {
		return r, "", false, fmt.Errorf("read manifest record %s: %w", Name(sequence), err)
	}
	return r, hash, true, nil
}

// Head finds the chain's end, the sequence of its last record; 0 when there is none. Records are numbered without gaps, so it takes steps that double, and then
// halves the last one: the cost is the logarithm of what was added since the last call.
func (c *Chain) Head(ctx context.Context) (int64, error) {
	low, step := c.last, int64(1) // low exists
	for {
		_, found, err := c.shelf.Read(ctx, Name(low+step))
		if err != nil {
			return 0, fmt.Errorf("find the manifest's end: %w", err)
		}
		if !found {
			break
		}
		low, step = low+step, step*2
	}
	for step > 1 { // low+step does not exist
		step /= 2
		_, found, err := c.shelf.Read(ctx, Name(low+step))
		if err != nil {
			return 0, fmt.Errorf("find the manifest's end: %w", err)
		}
		if found {
			low += step
		}
	}
	if low == c.last {
		return low, nil
	}
	r, hash, found, err := c.Get(ctx, low)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, fmt.Errorf("read manifest record %s: %w: it was there a moment ago", Name(low), ErrBroken)
	}
	c.last, c.hash, c.epoch = low, hash, r.AsOf.Epoch
	return low, nil
}

// Append adds a record behind the end that the last Head or Append has seen and gives it its sequence and previous hash; complete is called for what depends on the
// sequence, and its error means that the record is not fit to be added. ErrExists means that another writer was first: nothing was written, call Head and see what it did. Since a number is given once, a writer that was
// paused while its region lost its mandate cannot add behind its successor: it must see the successor's record first, and is then refused with ErrLaterEpoch.
func (c *Chain) Append(ctx context.Context, r Record, complete func(*Record) error) (Record, error) {
	if r.AsOf.Epoch < c.epoch {
		return r, fmt.Errorf("add manifest record: %w: %d, this is %d", ErrLaterEpoch, c.epoch, r.AsOf.Epoch)
	}
	r.Version, r.Sequence, r.Previous = Version, c.last+1, c.hash
	if err := complete(&r); err != nil {
		return r, err
	}
	line, hash, err := Seal(r)
	if err != nil {
		return r, err
	}
	if err := c.shelf.Add(ctx, Name(r.Sequence), line); err != nil {
		return r, fmt.Errorf("add manifest record %d: %w", r.Sequence, err)
	}
	c.last, c.hash, c.epoch = r.Sequence, hash, r.AsOf.Epoch
	return r, nil
}

// Verify walks the whole chain and calls visit, which may be nil, for each record.
func (c *Chain) Verify(ctx context.Context, visit func(Record) error) (records int64, err error) {
	previous, epoch := Origin, events.Epoch(0)
	for sequence := int64(1); ; sequence++ {
		r, hash, found, err := c.Get(ctx, sequence)
		if err != nil || !found {
			return sequence - 1, err
		}
		if r.Previous != previous {
			return sequence - 1, fmt.Errorf("verify manifest record %d: %w: it follows on %s, the record before is %s", sequence, ErrBroken, r.Previous, previous)
		}
		if r.AsOf.Epoch < epoch {
			return sequence - 1, fmt.Errorf("verify manifest record %d: %w: its epoch %d comes after epoch %d", sequence, ErrBroken, r.AsOf.Epoch, epoch)
		}
		previous, epoch = hash, r.AsOf.Epoch
		if visit == nil {
			continue
		}
		if err := visit(r); err != nil {
			return sequence, fmt.Errorf("verify manifest record %d: %w", sequence, err)
		}
	}
}
