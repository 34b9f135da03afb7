package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/rows"
)

// erased is what `erase` tells.
type erased struct {
	Dataset string           `json:"dataset"`
	Key     string           `json:"key"`
	Record  int64            `json:"manifest_sequence,omitempty"` // 0: no file had rows of them
	Rows    map[string]int64 `json:"rows"`                        // that are gone, by dataset
	Files   int              `json:"files"`                       // that were replaced
	Removed []string         `json:"removed"`                     // those of an erasure that was cut off among them
}

// runErase takes the rows of a person out of the raw files: of their dataset, and of those with personal data that name them. New files without the rows are durable first; the record in the manifest
// is the erasure, from which both regions' warehouses follow; then the old files are removed. Cut off at any point, the same command goes on.
func runErase(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("erase")
	var e manifest.Erasure
	a.StringVar(&e.Actor, "actor", "operator:"+os.Getenv("USER"), "who erases")
	a.StringVar(&e.Reason, "reason", "", "why; it stands in the manifest, so without a personal datum")
	words, err := a.read(args, 2)
	if err != nil {
		return err
	}
	e.Dataset, e.Key = words[0], strings.TrimSpace(words[1])
	if strings.TrimSpace(e.Reason) == "" {
		return &chassis.UsageError{Reason: "erase: want --reason; it stands in the manifest"}
	}
	m, err := models.Open(c.Models)
	if err != nil {
		return fmt.Errorf("read OFITEC_MODELS: %w", err)
	}
	columns, err := holding(m, e.Dataset)
	if err != nil {
		return err
	}
	store, err := c.openStore(ctx)
	if err != nil {
		return err
	}
	w := &eraser{store: store, columns: columns, told: erased{Dataset: e.Dataset, Key: e.Key, Rows: map[string]int64{}, Removed: []string{}}}
	if err := w.carryOut(ctx, e); err != nil {
		return fmt.Errorf("erase %s %s: %w", e.Dataset, e.Key, err)
	}
	return a.print(out, w.told, w.told.write)
}

// holding says in which column of which dataset a person's key stands, wherever there are personal data beside it.
func holding(m *models.Models, dataset string) (map[string]string, error) {
	person, known := m.Dataset(dataset)
	if !known || !personal(person) {
		return nil, &chassis.UsageError{Reason: fmt.Sprintf("erase: dataset %q: want one with personal data, such as partner", dataset)}
	}
	columns := map[string]string{dataset: person.Key}
	for _, d := range m.All() {
		for _, column := range d.Columns {
			if d.Name != dataset && column.References == dataset && personal(d) {
				columns[d.Name] = column.Name
			}
		}
	}
	return columns, nil
}

func personal(d models.Dataset) bool {
	for _, column := range d.Columns {
		if column.PII != "" {
			return true
		}
	}
	return false
}

// eraser is an erasure under way.
type eraser struct {
	store   *raw.Store
	columns map[string]string // by dataset
	told    erased
}

func (w *eraser) concerns(dataset string) bool { return w.columns[dataset] != "" }

// attempts bound how often it is begun again because exports go on meanwhile.
const attempts = 20

func (w *eraser) carryOut(ctx context.Context, e manifest.Erasure) error {
	for n := 1; ; n++ {
		seen, err := manifest.Read(ctx, w.store, w.concerns)
		if err != nil {
			return err
		}
		e.Files = nil
		clear(w.told.Rows)
		for _, f := range seen.Files {
			replaced, err := w.replace(ctx, f, e.Key)
			if err != nil {
				return err
			}
			if replaced.Erased > 0 {
				e.Files = append(e.Files, replaced)
				w.told.Rows[f.Dataset] += replaced.Erased
			}
		}
		failPoint("replaced")
		if w.told.Files = len(e.Files); w.told.Files == 0 {
			break
		}
		w.told.Record, err = manifest.Erase(ctx, w.store, w.store.URL(), seen, w.concerns, e, time.Now().UTC().Truncate(time.Microsecond), raw.ErrTaken)
		if errors.Is(err, manifest.ErrMoreFiles) && n < attempts {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	failPoint("recorded")
	return w.sweep(ctx)
}

// replace makes the file without the person's rows, if it has some.
func (w *eraser) replace(ctx context.Context, f manifest.File, key string) (manifest.ErasedFile, error) {
	r := manifest.ErasedFile{Dataset: f.Dataset, Path: f.Path, SHA256: f.SHA256}
	in, err := w.store.Open(ctx, w.store.URL()+"/"+f.Path)
	if err != nil {
		return r, err
	}
	content, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err != nil {
		return r, err
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != f.SHA256 {
		return r, fmt.Errorf("raw file %s is not what the manifest says: sha256 %x, want %s", f.Path, sum, f.SHA256)
	}
	rest, gone, err := rows.Without(content, f.Format, w.columns[f.Dataset], key)
	if err != nil || gone == 0 {
		return r, err
	}
	sum := sha256.Sum256(rest)
	r.NewSHA256, r.NewBytes, r.Erased = hex.EncodeToString(sum[:]), int64(len(rest)), gone
	plain, _, _ := strings.Cut(path.Base(f.Path), ".zst")
	r.NewPath, err = w.store.Keep(ctx, path.Join(path.Dir(f.Path), r.NewSHA256+path.Ext(strings.TrimSuffix(plain, ".age"))), rest)
	return r, err
}

// sweep removes the files that no record needs any more, of this erasure and of those that were cut off.
func (w *eraser) sweep(ctx context.Context) error {
	now, err := manifest.Read(ctx, w.store, w.concerns)
	if err != nil {
		return err
	}
	for _, name := range now.Replaced() {
		_, there, err := w.store.Read(ctx, name)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := w.store.Remove(ctx, name); err != nil {
			return err
		}
		w.told.Removed = append(w.told.Removed, name)
		failPoint("removed one")
	}
	return nil
}

func (e erased) write(out io.Writer) {
	if e.Record == 0 {
		fmt.Fprintf(out, "no raw file has rows of %s %s\n", e.Dataset, e.Key)
	} else {
		fmt.Fprintf(out, "%s %s is erased: %d raw files have others in their place, from manifest record %d on; each warehouse is made anew without the rows when it reads that record\n", e.Dataset, e.Key, e.Files, e.Record)
	}
	for dataset, n := range e.Rows {
		fmt.Fprintf(out, "%-20s %d rows are gone\n", dataset, n)
	}
	for _, name := range e.Removed {
		fmt.Fprintf(out, "removed %s\n", name)
	}
}
