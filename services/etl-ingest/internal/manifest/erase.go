package manifest

import (
	"context"
	"fmt"

	"github.com/ofitec/ofitec/events"
)

// Erasure is what etl-transform writes when the rows of a person were taken out of raw files: each of them has another one in its place, for all records before this one, and is removed.
type Erasure struct {
	Files []ErasedFile `json:"files"`
}

// ErasedFile is a raw file and what stands for it.
type ErasedFile struct {
	Dataset   string `json:"dataset"`
	Path      string `json:"path"`
	SHA256    string `json:"sha256"`
	NewPath   string `json:"new_path"`
	NewSHA256 string `json:"new_sha256"`
}

// Erasures are those of a part of the chain, in order.
type Erasures struct {
	sequences []int64
	list      []Erasure
}

// Erasures finds those between two records, both included.
func (c *Chain) Erasures(ctx context.Context, from, to int64) (Erasures, error) {
	var e Erasures
	for sequence := from; sequence <= to; sequence++ {
		r, _, found, err := c.Get(ctx, sequence)
		if err != nil {
			return e, err
		}
		if !found {
			return e, fmt.Errorf("%w: there is no record %d of %d", ErrBroken, sequence, to)
		}
		if r.Kind == events.KindErasure && r.Erasure != nil {
			e.sequences, e.list = append(e.sequences, sequence), append(e.list, *r.Erasure)
		}
	}
	return e, nil
}

// Resolve gives a record the file that stands for its own now.
func (e Erasures) Resolve(r Record) Record {
	for n, one := range e.list {
		if e.sequences[n] <= r.Sequence {
			continue
		}
		for _, f := range one.Files {
			if f.Dataset == r.Dataset && f.Path == r.Path && f.SHA256 == r.SHA256 {
				r.Path, r.SHA256 = f.NewPath, f.NewSHA256
				break
			}
		}
	}
	return r
}
