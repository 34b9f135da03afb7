package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// without puts a file in the place of a record's that lacks the row of an id, as etl-transform does, and says so in the manifest.
func (s *site) without(t *testing.T, r manifest.Record, id string) {
	t.Helper()
	store := openFolder(t, filepath.Join(s.config.Warehouse, "raw"))
	file, err := store.Get(t.Context(), r.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	reader, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	var rest []byte
	for line := range bytes.Lines(content) {
		if !bytes.HasPrefix(line, []byte(id+",")) {
			rest = append(rest, line...)
		}
	}
	if len(rest) == len(content) {
		t.Fatalf("%s has no row %s", r.Path, id)
	}
	sum := sha256.Sum256(rest)
	f := manifest.ErasedFile{Dataset: r.Dataset, Path: r.Path, SHA256: r.SHA256, NewSHA256: hex.EncodeToString(sum[:])}
	f.NewPath = filepath.Join(filepath.Dir(r.Path), f.NewSHA256+".csv.zst")
	writer, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Add(t.Context(), f.NewPath, writer.EncodeAll(rest, nil)); err != nil {
		t.Fatal(err)
	}
	erasure := manifest.Record{Kind: events.KindErasure, Dataset: events.DatasetErasure, Region: "a", Format: "csv", SHA256: hex.EncodeToString(sha256.New().Sum(nil)), Erasure: &manifest.Erasure{Files: []manifest.ErasedFile{f}}}
	chain := manifest.NewChain(store)
	head, err := chain.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last, _, _, err := chain.Get(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	erasure.AsOf = last.AsOf
	_, err = chain.Append(t.Context(), erasure, func(w *manifest.Record) error {
		w.Batch, w.EventTime = "invoice-3", monday
		w.EventID = events.ID(w.Ready(store.URL()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.config.Warehouse, "raw", r.Path)); err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatAnErasureHasReplacedIsReadInTheOthersPlace(t *testing.T) {
	s := newSite(t)
	fill(s.erp)
	s.mustOnce(t)
	for _, r := range s.records(t) {
		if r.Dataset == "invoice" && r.Kind == manifest.KindRows && r.Path != "" {
			s.without(t, r, "3")
			break
		}
	}
	before := len(s.records(t))
	s.mustOnce(t) // with the books of before, and the record to be announced
	store := openFolder(t, filepath.Join(s.config.Warehouse, "raw"))
	b := &books{dir: t.TempDir(), store: store, datasets: mustModels(t).Datasets(), chain: manifest.NewChain(store)}
	if err := b.follow(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("books of a store with an erasure: %v", err)
	}
	book, err := b.open("invoice")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }() // only read
	if _, _, found, err := book.Find(3); err != nil || found {
		t.Errorf("row 3 is found: %t, %v", found, err)
	}
	if _, _, found, err := book.Find(4); err != nil || !found {
		t.Errorf("row 4 is found: %t, %v", found, err)
	}
	told := s.records(t)[before-1]
	if told.Kind != events.KindErasure {
		t.Fatalf("record %d is of kind %s", told.Sequence, told.Kind)
	}
	s.mustAnnounce(t)
}
