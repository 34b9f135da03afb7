package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/known"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// books are what the raw files say that the source has, one a dataset, kept up with the manifest. They are made of the store alone, so that they are right after
// a crash and in the region that takes over, and may be lost. It is safe for concurrent use.
type books struct {
	dir      string
	store    store
	spool    spool.Dir // how raw files are kept
	datasets []models.Dataset
	log      *slog.Logger

	mu    sync.Mutex
	chain *manifest.Chain
}

// changesAtOnce bounds what is sorted in memory.
const changesAtOnce = 1 << 19

// reached is how far the books have followed, and in which manifest.
type reached struct {
	Root     string `json:"root"`
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash"`
}

func (b *books) path(dataset string) string { return filepath.Join(b.dir, dataset+".book") }

func (b *books) open(dataset string) (*known.Book, error) { return known.Open(b.path(dataset)) }

// follow brings the books up to the manifest's end. Damaged books, and those of another store, are made again.
func (b *books) follow(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.followLocked(ctx)
	if errors.Is(err, known.ErrDamaged) {
		b.log.WarnContext(ctx, "books are damaged and made again", "error", err)
		if err = b.forget(); err == nil {
			err = b.followLocked(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("keep the books: %w", err)
	}
	return nil
}

func (b *books) followLocked(ctx context.Context) error {
	if err := os.MkdirAll(b.dir, 0o750); err != nil {
		return err
	}
	head, err := b.chain.Head(ctx)
	if err != nil {
		return err
	}
	at, err := b.whereWeAre(ctx, head)
	if err != nil || at.Sequence == head {
		return err
	}
	p := pending{books: b, changes: map[string][]known.Change{}, last: map[string]int64{}}
	if p.erased, err = b.chain.Erasures(ctx, at.Sequence+1, head); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	for at.Sequence < head {
		r, hash, found, err := b.chain.Get(ctx, at.Sequence+1)
		if err == nil && !found {
			err = fmt.Errorf("%w: there is no record %d of %d", manifest.ErrBroken, at.Sequence+1, head)
		}
		if err == nil {
			err = p.take(ctx, r)
		}
		if err != nil {
			return err
		}
		at.Sequence, at.Hash = r.Sequence, hash
		if p.count >= changesAtOnce {
			if err := errors.Join(p.flush(), b.remember(at)); err != nil {
				return err
			}
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	return b.remember(at)
}

// whereWeAre reads how far the books are, and forgets them when they do not belong to this manifest.
func (b *books) whereWeAre(ctx context.Context, head int64) (reached, error) {
	at := reached{Root: b.store.URL()}
	content, err := os.ReadFile(filepath.Join(b.dir, "reached.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return at, b.forget()
	}
	if err != nil {
		return at, err
	}
	var was reached
	if json.Unmarshal(content, &was) == nil && was.Root == at.Root && was.Sequence <= head {
		_, hash, found, err := b.chain.Get(ctx, was.Sequence)
		if err != nil {
			return at, err
		}
		if found && hash == was.Hash {
			return was, nil
		}
	}
	return at, b.forget()
}

func (b *books) remember(at reached) error {
	content, err := json.Marshal(at)
	if err != nil {
		return err
	}
	draft := filepath.Join(b.dir, ".reached.json")
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		return err
	}
	return os.Rename(draft, filepath.Join(b.dir, "reached.json"))
}

func (b *books) forget() error {
	paths, _ := filepath.Glob(filepath.Join(b.dir, "*.book")) // the pattern is sound
	for _, path := range append(paths, filepath.Join(b.dir, "reached.json")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// pending is what was read of the manifest and is not in the books yet.
type pending struct {
	books   *books
	changes map[string][]known.Change
	last    map[string]int64 // the last record that is in a dataset's changes or book
	erased  manifest.Erasures
	count   int
}

func (p *pending) open() error {
	for _, dataset := range p.books.datasets {
		book, err := p.books.open(dataset.Name)
		if err != nil {
			return err
		}
		p.last[dataset.Name] = book.Sequence()
		if err := book.Close(); err != nil {
			return err
		}
	}
	return nil
}

var effects = map[string]known.Effect{manifest.KindRows: known.Seen, manifest.KindAssert: known.Asserted, manifest.KindAbsent: known.Absent}

// take reads a record's raw file. Records of datasets that the models do not have, and those that are in the book already, are passed over.
func (p *pending) take(ctx context.Context, r manifest.Record) error {
	effect, counts := effects[r.Kind]
	last, ours := p.last[r.Dataset]
	if !counts || !ours || r.Path == "" || r.Sequence <= last {
		return nil
	}
	r = p.erased.Resolve(r)
	columns := p.books.columns(r.Dataset)
	if effect == known.Absent {
		columns.Cursor = ""
	}
	changes := p.changes[r.Dataset]
	err := p.books.read(ctx, r, func(plain io.Reader) error {
		return odoo.Places(plain, r.Format, columns, func(place extract.Place) error {
			changes = append(changes, known.NewChange(known.Row{ID: place.ID, At: place.Since}, effect))
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read raw file %s of record %d: %w", r.Path, r.Sequence, err)
	}
	p.count += len(changes) - len(p.changes[r.Dataset])
	p.changes[r.Dataset], p.last[r.Dataset] = changes, r.Sequence
	return nil
}

func (p *pending) flush() error {
	for dataset, changes := range p.changes {
		if err := known.Write(p.books.path(dataset), changes, p.last[dataset]); err != nil {
			return err
		}
	}
	clear(p.changes)
	p.count = 0
	return nil
}

func (b *books) columns(dataset string) odoo.Columns {
	for _, d := range b.datasets {
		if d.Name == dataset {
			return odoo.Columns{Key: d.Key, Cursor: d.Cursor}
		}
	}
	return odoo.Columns{}
}

// read hands a raw file's plain bytes to use and checks that they are what the manifest says.
func (b *books) read(ctx context.Context, r manifest.Record, use func(io.Reader) error) error {
	file, err := b.store.Get(ctx, r.Path)
	if err != nil {
		return err
	}
	plain, err := b.spool.Plain(file, r.Path)
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }() // only read
	sum := sha256.New()
	if err := use(hashing{plain, sum}); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != r.SHA256 {
		return fmt.Errorf("%w: its content has the hash %s, the record says %s", manifest.ErrBroken, got, r.SHA256)
	}
	return nil
}

type hashing struct {
	io.Reader
	sum hash.Hash
}

func (h hashing) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.sum.Write(p[:n])
	return n, err
}
