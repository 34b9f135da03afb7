// Package batch decides which announced files make the next micro-batch and what has been done before. It does no I/O.
package batch

import (
	"cmp"
	"slices"

	"github.com/ofitec/ofitec/events"
)

// ID names a raw file's batch; a batch is unique within its dataset.
type ID struct{ Dataset, Batch string }

// Of is the id of an announcement.
func Of(e events.ExportReady) ID { return ID{e.Dataset, e.Batch} }

// Announced is a file that waits to be loaded, and the event that told of it.
type Announced struct {
	Event events.Event
	Ready events.ExportReady
}

// Limits bound one transaction.
type Limits struct {
	Files int
	Bytes int64
}

// Plan is what to do with the files that wait.
type Plan struct {
	Load  []Announced // one transaction, in order of the manifest
	Done  []Announced // are in the warehouse, or twice in the list
	Later []Announced // the next transaction
	// Changed says that the same batch was announced before with other content. It is loaded by nobody: one of the two announcements is wrong.
	Changed []Announced
}

// Decide takes the files that wait and the sha256 of the batches that the ledger has. Order and repetition of the waiting files do not matter. The first file always goes in,
// so that one that is larger than the limit is not stuck.
func Decide(waiting []Announced, ledger map[ID]string, limits Limits) Plan {
	sorted := slices.Clone(waiting)
	slices.SortStableFunc(sorted, func(a, b Announced) int {
		return cmp.Or(cmp.Compare(a.Ready.Sequence, b.Ready.Sequence), cmp.Compare(a.Ready.Dataset, b.Ready.Dataset), cmp.Compare(a.Ready.Batch, b.Ready.Batch))
	})
	var plan Plan
	taken := map[ID]string{}
	var bytes int64
	for _, a := range sorted {
		id := Of(a.Ready)
		before, known := ledger[id]
		if !known {
			before, known = taken[id]
		}
		switch {
		case known && before == a.Ready.SHA256:
			plan.Done = append(plan.Done, a)
		case known:
			plan.Changed = append(plan.Changed, a)
		case len(plan.Load) > 0 && (len(plan.Load) >= limits.Files || bytes+a.Ready.Bytes > limits.Bytes):
			plan.Later = append(plan.Later, a)
		default:
			taken[id] = a.Ready.SHA256
			bytes += a.Ready.Bytes
			plan.Load = append(plan.Load, a)
		}
	}
	return plan
}
