package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/services/etl-transform/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// closed is what `close` tells.
type closed struct {
	Month     string `json:"month"`
	Record    int64  `json:"manifest_sequence"` // of the closing
	RestsOn   int64  `json:"rests_on"`          // last record whose documents are in the figures
	Behind    int64  `json:"behind"`            // records that came since, and are not in them
	Figures   int64  `json:"figures"`
	Documents int64  `json:"documents"`
	Path      string `json:"path"`
	SHA256    string `json:"sha256"`
}

// runClose freezes what the marts say of a month: a raw file with the figures, and a record in the manifest, from which every warehouse takes them, this one too.
func runClose(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("close")
	closing := warehouse.Closing{At: time.Now().UTC().Truncate(time.Microsecond)}
	a.StringVar(&closing.Actor, "actor", "operator:"+os.Getenv("USER"), "who closes")
	a.StringVar(&closing.Reason, "reason", "", "why; it stands in the closing")
	words, err := a.read(args, 1)
	if err != nil {
		return err
	}
	if closing.Month, err = time.Parse("2006-01", words[0]); err != nil {
		return &chassis.UsageError{Reason: fmt.Sprintf("close: month %q: want one such as 2026-10", words[0])}
	}
	if strings.TrimSpace(closing.Reason) == "" {
		return &chassis.UsageError{Reason: "close: want --reason; it stands in the closing"}
	}
	store, err := c.openStore(ctx)
	if err != nil {
		return err
	}
	r, err := c.openReading(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	frozen, err := r.Freeze(ctx, closing)
	if err != nil {
		return err
	}
	done, err := keepClosing(ctx, store, closing, frozen)
	if err != nil {
		return fmt.Errorf("close month %s: %w", closing.Name(), err)
	}
	return a.print(out, done, func(out io.Writer) {
		fmt.Fprintf(out, "%s is closed: %d figures and %d documents as of manifest record %d are frozen in record %d (%s)\n", done.Month, done.Figures, done.Documents, done.RestsOn, done.Record, done.Path)
		if done.Behind > 0 {
			fmt.Fprintf(out, "%d records came since: what they change in the month restates it\n", done.Behind)
		}
	})
}

// keepClosing writes the raw file first: a record never names what is not there. Without the record the file is nobody's.
func keepClosing(ctx context.Context, store *raw.Store, closing warehouse.Closing, f warehouse.Frozen) (closed, error) {
	sum := sha256.Sum256(f.Content)
	done := closed{Month: closing.Name(), RestsOn: f.Sequence, Figures: f.Figures, Documents: f.Documents, SHA256: hex.EncodeToString(sum[:])}
	path, err := store.Keep(ctx, fmt.Sprintf("%s/dt=%s/%s.csv", warehouse.DatasetClose, closing.At.Format(time.DateOnly), done.SHA256), f.Content)
	if err != nil {
		return done, err
	}
	done.Path = path
	done.Record, err = manifest.Close(ctx, store, store.URL(), f.Sequence, manifest.Closed{
		Dataset: warehouse.DatasetClose, Month: closing.Name(), Path: done.Path, SHA256: done.SHA256, Rows: f.Rows, Bytes: int64(len(f.Content)), At: closing.At,
	}, raw.ErrTaken)
	done.Behind = max(done.Record-f.Sequence-1, 0)
	return done, err
}
