package warehouse

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/batch"
	"github.com/ofitec/ofitec/services/etl-transform/internal/rows"
	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

// Store gives the plain bytes of a raw file.
type Store interface {
	Open(ctx context.Context, url string) (io.ReadCloser, error)
}

// ErrNotForUs says that trying again is of no use: these models, or this program, cannot load such a file.
var ErrNotForUs = errors.New("it cannot be loaded here")

// spooling is what was read of a micro-batch.
type spooling struct{ files []spooledFile }

// spooledFile is one raw file. Its paths are empty when it has no records of that form.
type spooledFile struct {
	batch.Announced
	number       int
	typed, other string
	summary      rows.Summary
}

func (f spooledFile) remove() {
	for _, path := range []string{f.typed, f.other} {
		if path != "" {
			_ = os.Remove(path) // the next start looks again
		}
	}
}

func (s *spooling) remove() {
	for _, f := range s.files {
		f.remove()
	}
}

// of lists the spooled files of a dataset.
func (s *spooling) of(dataset string) vault.Spool {
	v := vault.Spool{Parallel: true}
	for _, f := range s.files {
		if f.Ready.Dataset != dataset {
			continue
		}
		if f.summary.Typed > 0 {
			v.Typed = append(v.Typed, f.typed)
		}
		if f.summary.Records > f.summary.Typed {
			v.Other = append(v.Other, f.other)
		}
		v.Parallel = v.Parallel && !f.summary.Multiline
	}
	return v
}

// kindOf is what the vault takes a file for.
func kindOf(r events.ExportReady) string {
	if r.Kind == events.KindClose {
		return vault.KindRows // what a month was when it was closed is rows as any other
	}
	return r.Kind
}

// declare tells the quarantine what in the files is no record.
func (s *spooling) declare(ctx context.Context, tx *sql.Tx, load int64) error {
	for _, f := range s.files {
		for _, reject := range f.summary.Rejects {
			_, err := tx.ExecContext(ctx, "INSERT INTO etl_quarantine (layer, name, reason, raw_url, raw_line, raw_sequence, load) VALUES ('stage', ?, ?, ?, ?, ?, ?)",
				f.Ready.Dataset, reject.Reason, f.Ready.RawURL, reject.Line, f.Ready.Sequence, load)
			if err != nil {
				return fmt.Errorf("write quarantine: %w", err)
			}
		}
	}
	return nil
}

// atOnce is how many files are read at a time, at most.
const atOnce = 4

// spool reads the files; those that fail are told in r, and are not in what is returned.
func (w *Warehouse) spool(ctx context.Context, files []batch.Announced, store Store, r *Result) (*spooling, error) {
	read, failed := make([]spooledFile, len(files)), make([]error, len(files))
	var next atomic.Int64
	var readers sync.WaitGroup
	for range min(atOnce, runtime.GOMAXPROCS(0), len(files)) {
		readers.Go(func() {
			for n := int(next.Add(1)) - 1; n < len(files) && ctx.Err() == nil; n = int(next.Add(1)) - 1 {
				read[n] = spooledFile{Announced: files[n], number: n}
				failed[n] = w.spoolOne(ctx, &read[n], store)
			}
		})
	}
	readers.Wait()
	if ctx.Err() != nil && len(files) > 0 {
		return &spooling{files: read}, ctx.Err()
	}
	s := &spooling{}
	for n, f := range read {
		if failed[n] != nil {
			r.Failed[batch.Of(f.Ready)] = failed[n]
			continue
		}
		s.files = append(s.files, f)
		volume := r.Read[f.Ready.Dataset]
		volume.Rows += f.summary.Records + f.summary.Rejected
		volume.Bytes += f.Ready.Bytes
		r.Read[f.Ready.Dataset] = volume
		if f.summary.Rejected > 0 {
			r.Rejected[f.Ready.Dataset] += f.summary.Rejected
		}
		if len(f.summary.Unknown) > 0 {
			w.o.Log.WarnContext(ctx, "raw file has columns that the dataset does not know", "dataset", f.Ready.Dataset, "columns", f.summary.Unknown, "raw_url", f.Ready.RawURL)
		}
	}
	return s, nil
}

func (w *Warehouse) spoolOne(ctx context.Context, f *spooledFile, store Store) error {
	if f.Ready.Kind == events.KindKey || f.Ready.Kind == events.KindErasure {
		return nil // it has no file of its own
	}
	dataset, known := w.o.Models.Dataset(f.Ready.Dataset)
	switch {
	case !known:
		return fmt.Errorf("read raw file: %w: dataset %q has no model", ErrNotForUs, f.Ready.Dataset)
	case f.Ready.Kind == "summary" || f.Ready.Rows == 0:
		return nil // says how fresh the source was
	}
	in, err := store.Open(ctx, f.Ready.RawURL)
	if err != nil {
		return err
	}
	defer in.Close()
	if err = w.write(in, f, dataset); err != nil {
		f.remove()
		f.typed, f.other = "", ""
	}
	return err
}

// write makes the two files.
func (w *Warehouse) write(in io.Reader, f *spooledFile, dataset models.Dataset) error {
	typed, err := os.CreateTemp(w.o.Spool, "*.spool")
	if err != nil {
		return fmt.Errorf("spool raw file: %w", err)
	}
	f.typed = typed.Name()
	other, err := os.CreateTemp(w.o.Spool, "*.spool")
	if err != nil {
		return errors.Join(fmt.Errorf("spool raw file: %w", err), typed.Close())
	}
	f.other = other.Name()
	err = w.copy(in, typed, other, f, dataset)
	if closed := errors.Join(typed.Close(), other.Close()); err == nil && closed != nil {
		err = fmt.Errorf("spool raw file: %w", closed)
	}
	return err
}

// copy spools the records and compares the content with what was announced.
func (w *Warehouse) copy(in io.Reader, typed, other io.Writer, f *spooledFile, dataset models.Dataset) error {
	sum := sha256.New()
	tee := io.TeeReader(in, sum)
	// Numbers of two files must not meet.
	writer := rows.NewWriter(other, dataset, w.o.Tokens, int64(f.number)<<32).Typed(typed, w.payload(dataset.Name))
	summary, err := writer.File(tee, f.Ready.Format, f.number)
	if err == nil {
		_, err = io.Copy(io.Discard, tee) // what is behind the last record belongs to the content
	}
	flushed := writer.Flush()
	switch {
	case err != nil:
		return fmt.Errorf("read raw file %s: %w", f.Ready.RawURL, err)
	case flushed != nil:
		return fmt.Errorf("spool raw file: %w", flushed)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != f.Ready.SHA256 {
		return fmt.Errorf("read raw file %s: sha256 of its plain bytes is %s, announced was %s", f.Ready.RawURL, have, f.Ready.SHA256)
	}
	f.summary = summary
	return nil
}

// payload are the columns of a dataset's hashdiff.
func (w *Warehouse) payload(dataset string) []string {
	i := slices.IndexFunc(w.plans, func(p vault.Plan) bool { return p.Dataset.Name == dataset })
	return w.plans[i].Payload() // each dataset of the models has a plan
}
