package manifest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Erasure says that the rows of a person were taken out of the raw files before it. Raw files are named by their content: each of them has another one in its place, and is removed.
type Erasure struct {
	Dataset string       `json:"dataset"` // of the person
	Key     string       `json:"key"`     // in it; no personal datum
	Actor   string       `json:"actor"`
	Reason  string       `json:"reason"`
	Files   []ErasedFile `json:"files"`
}

// ErasedFile is a raw file and what stands for it, in all records before the erasure.
type ErasedFile struct {
	Dataset   string `json:"dataset"`
	Path      string `json:"path"`
	SHA256    string `json:"sha256"`
	NewPath   string `json:"new_path"`
	NewSHA256 string `json:"new_sha256"`
	NewBytes  int64  `json:"new_bytes"`
	Erased    int64  `json:"erased"` // rows that are gone
}

// Erasures are those of a part of the manifest, by the sequence of their records, in order. The zero value has none.
type Erasures struct{ list []erasureAt }

type erasureAt struct {
	sequence int64
	Erasure
}

// Of gives the erasure of a record; false when it is not known.
func (e *Erasures) Of(sequence int64) (Erasure, bool) {
	for _, one := range e.list {
		if one.sequence == sequence {
			return one.Erasure, true
		}
	}
	return Erasure{}, false
}

// Len is how many there are.
func (e *Erasures) Len() int { return len(e.list) }

// Add takes over what another part of the manifest has. It says whether that was more than was known.
func (e *Erasures) Add(other Erasures) bool {
	more := false
	for _, one := range other.list {
		if _, known := e.Of(one.sequence); known {
			continue
		}
		at := len(e.list)
		for at > 0 && e.list[at-1].sequence > one.sequence {
			at--
		}
		e.list = append(e.list[:at], append([]erasureAt{one}, e.list[at:]...)...)
		more = true
	}
	return more
}

// Resolve gives an announcement the file that stands for its own now.
func (e *Erasures) Resolve(root string, r events.ExportReady) events.ExportReady {
	for _, one := range e.list {
		if one.sequence <= r.Sequence {
			continue
		}
		for _, f := range one.Files {
			if f.Dataset == r.Dataset && f.SHA256 == r.SHA256 && root+"/"+f.Path == r.RawURL {
				r.RawURL, r.SHA256, r.Rows, r.Bytes = root+"/"+f.NewPath, f.NewSHA256, max(r.Rows-f.Erased, 0), f.NewBytes
				break
			}
		}
	}
	return r
}

// scanAhead is how many records are read at the same time where the order of reading does not matter.
const scanAhead = 16

// FindErasures reads the manifest from a sequence on to its end.
func FindErasures(ctx context.Context, shelf Shelf, from int64) (Erasures, error) {
	var found Erasures
	_, err := walk(ctx, shelf, from, func(r record) {
		if r.Kind == events.KindErasure && r.Erasure != nil {
			found.list = append(found.list, erasureAt{r.Sequence, *r.Erasure})
		}
	})
	return found, err
}

// walk visits all records from a sequence on, in order, and gives the last one's sequence. It reads some of them ahead; the chain is not checked, but each record is.
func walk(ctx context.Context, shelf Shelf, from int64, visit func(record)) (last int64, err error) {
	type answer struct {
		line  []byte
		there bool
		err   error
	}
	for start := from; ; start += scanAhead {
		answers := make([]chan answer, scanAhead)
		for n := range answers {
			answers[n] = make(chan answer, 1)
			go func() {
				line, there, err := shelf.Read(ctx, Name(start+int64(n)))
				answers[n] <- answer{line, there, err}
			}()
		}
		for n, c := range answers {
			a := <-c
			sequence := start + int64(n)
			if a.err != nil {
				return sequence - 1, a.err
			}
			if !a.there {
				return sequence - 1, nil
			}
			r, _, err := open(a.line)
			if err == nil && r.Sequence != sequence {
				err = fmt.Errorf("%w: it says that it is number %d", ErrBroken, r.Sequence)
			}
			if err != nil {
				return sequence - 1, fmt.Errorf("read manifest record %s: %w", Name(sequence), err)
			}
			visit(r)
		}
	}
}

// File is a raw file with rows as it stands now, of the first record that names it.
type File struct {
	Dataset string
	Path    string
	Format  string
	SHA256  string
}

// Contents are the raw files with rows of some datasets, each once, all paths that any record of any dataset needs, and what was erased.
type Contents struct {
	Files    []File
	Needed   map[string]bool
	Erasures Erasures
	Head     int64 // the last record
}

// Read looks through the whole manifest.
func Read(ctx context.Context, shelf Shelf, of func(dataset string) bool) (Contents, error) {
	c := Contents{Needed: map[string]bool{}}
	type named struct {
		sequence int64
		ours     bool
		file     File
	}
	var records []named
	var err error
	c.Head, err = walk(ctx, shelf, 1, func(r record) {
		switch {
		case r.Kind == events.KindErasure && r.Erasure != nil:
			c.Erasures.list = append(c.Erasures.list, erasureAt{r.Sequence, *r.Erasure})
		case r.Path != "":
			records = append(records, named{r.Sequence, of(r.Dataset) && carriesRows(r.Kind), File{Dataset: r.Dataset, Path: r.Path, Format: r.Format, SHA256: r.SHA256}})
		}
	})
	if err != nil {
		return c, err
	}
	for _, r := range records {
		now := c.Erasures.Resolve("", events.ExportReady{Dataset: r.file.Dataset, Sequence: r.sequence, SHA256: r.file.SHA256, RawURL: "/" + r.file.Path})
		r.file.Path, r.file.SHA256 = now.RawURL[1:], now.SHA256
		if !c.Needed[r.file.Path] && r.ours {
			c.Files = append(c.Files, r.file)
		}
		c.Needed[r.file.Path] = true
	}
	return c, nil
}

func carriesRows(kind string) bool { return kind == "rows" || kind == "assert" }

// ErrMoreFiles says that the manifest has gone on since it was looked through, with what may hold rows of the person.
var ErrMoreFiles = errors.New("there are more files by now")

// Erase adds the record of an erasure behind all that was looked through. It is the erasure: from here on every reader takes the new files.
func Erase(ctx context.Context, shelf Keeper, root string, seen Contents, of func(dataset string) bool, e Erasure, at time.Time, taken error) (int64, error) {
	w, err := add(ctx, shelf, root, seen.Head, taken, func(r record) error {
		if r.Sequence > seen.Head && (r.Kind == events.KindErasure || r.Path != "" && carriesRows(r.Kind) && of(r.Dataset)) {
			return fmt.Errorf("%w: record %d", ErrMoreFiles, r.Sequence)
		}
		return nil
	}, func(w *record) error {
		w.Kind, w.Dataset, w.Batch, w.SHA256, w.EventTime, w.Erasure = events.KindErasure, events.DatasetErasure, fmt.Sprintf("%s-%06d", e.Dataset, w.Sequence), nothing, at.UTC(), &e
		return nil
	})
	return w.Sequence, err
}

// Replaced are the files that erasures have put others in the place of, and that no record needs.
func (c Contents) Replaced() []string {
	var paths []string
	seen := map[string]bool{}
	for _, one := range c.Erasures.list {
		for _, f := range one.Files {
			if !c.Needed[f.Path] && !seen[f.Path] {
				paths = append(paths, f.Path)
			}
			seen[f.Path] = true
		}
	}
	return paths
}
