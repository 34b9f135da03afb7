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
type spooling struct {
	folder string
	files  []spooledFile
	next   int64
}

// spooledFile is one raw file. path is empty when it has no records.
type spooledFile struct {
	batch.Announced
	path    string
	summary rows.Summary
}

func (s *spooling) remove() {
	for _, f := range s.files {
		if f.path != "" {
			_ = os.Remove(f.path) // the next start looks again
		}
	}
}

// of lists the spooled files of a dataset, and whether a value in them has a line's end in it.
func (s *spooling) of(dataset string) (paths []string, multiline bool) {
	for _, f := range s.files {
		if f.Ready.Dataset == dataset && f.path != "" {
			paths = append(paths, f.path)
			multiline = multiline || f.summary.Multiline
		}
	}
	return paths, multiline
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

// spool reads the files; those that fail are told in r, and are not in what is returned.
func (w *Warehouse) spool(ctx context.Context, files []batch.Announced, store Store, r *Result) (*spooling, error) {
	s := &spooling{folder: w.o.Spool}
	for _, a := range files {
		f := spooledFile{Announced: a}
		err := w.spoolOne(ctx, s, &f, store)
		if ctx.Err() != nil {
			return s, ctx.Err()
		}
		if err != nil {
			r.Failed[batch.Of(a.Ready)] = err
			continue
		}
		s.files = append(s.files, f)
		volume := r.Read[a.Ready.Dataset]
		volume.Rows += f.summary.Records + f.summary.Rejected
		volume.Bytes += a.Ready.Bytes
		r.Read[a.Ready.Dataset] = volume
		if f.summary.Rejected > 0 {
			r.Rejected[a.Ready.Dataset] += f.summary.Rejected
		}
		if len(f.summary.Unknown) > 0 {
			w.o.Log.WarnContext(ctx, "raw file has columns that the dataset does not know", "dataset", a.Ready.Dataset, "columns", f.summary.Unknown, "raw_url", a.Ready.RawURL)
		}
	}
	return s, nil
}

func (w *Warehouse) spoolOne(ctx context.Context, s *spooling, f *spooledFile, store Store) (err error) {
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
	out, err := os.CreateTemp(w.o.Spool, "*.spool")
	if err != nil {
		return fmt.Errorf("spool raw file: %w", err)
	}
	f.path = out.Name()
	defer func() {
		if err != nil {
			_ = os.Remove(f.path)
			f.path = ""
		}
	}()
	if err := w.copy(in, out, f, dataset, s); err != nil {
		_ = out.Close()
		return err
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("spool raw file: %w", err)
	}
	return nil
}

// copy spools the records and compares the content with what was announced.
func (w *Warehouse) copy(in io.Reader, out io.Writer, f *spooledFile, dataset models.Dataset, s *spooling) error {
	sum := sha256.New()
	tee := io.TeeReader(in, sum)
	writer := rows.NewWriter(out, dataset, w.o.Tokens, s.next)
	summary, err := writer.File(tee, f.Ready.Format, len(s.files))
	if err == nil {
		_, err = io.Copy(io.Discard, tee) // what is behind the last record belongs to the content
	}
	next, flushed := writer.Flush()
	switch {
	case err != nil:
		return fmt.Errorf("read raw file %s: %w", f.Ready.RawURL, err)
	case flushed != nil:
		return fmt.Errorf("spool raw file: %w", flushed)
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != f.Ready.SHA256 {
		return fmt.Errorf("read raw file %s: sha256 of its plain bytes is %s, announced was %s", f.Ready.RawURL, have, f.Ready.SHA256)
	}
	s.next, f.summary = next, summary
	return nil
}
