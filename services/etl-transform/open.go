package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/duckdb"
	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
	"github.com/ofitec/ofitec/services/etl-transform/internal/s3"
	"github.com/ofitec/ofitec/services/etl-transform/internal/seal"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// openStore gives the raw store and what its encrypted files are opened with.
func (c *Config) openStore(ctx context.Context) (*raw.Store, error) {
	if err := c.fetchKeys(ctx); err != nil {
		return nil, err
	}
	store, err := c.openSource()
	if err != nil || c.RawKey == "" {
		return store, err
	}
	keys, err := seal.Parse(c.RawKey.Reveal())
	if err != nil {
		return nil, err
	}
	return store.WithKeys(keys), nil
}

func (c *Config) openSource() (*raw.Store, error) {
	u, err := c.rawURL()
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		folder := raw.OpenFolder(u)
		return raw.New(folder.URL(), folder), nil
	}
	ca := c.S3.CAFile
	if ca == "" {
		ca = c.TLS.CA
	}
	source, err := s3.Open(u, s3.Access{Endpoint: c.S3.Endpoint, Region: c.S3.Region, CAFile: ca, AccessKey: c.S3.AccessKey.Reveal(), SecretKey: c.S3.SecretKey.Reveal()})
	if err != nil {
		return nil, err
	}
	return raw.New(source.URL(), source), nil
}

// options are what a warehouse is made of here.
func (c *Config) options(ctx context.Context, log *slog.Logger) (warehouse.Options, error) {
	o, err := c.optionsToRead(log)
	if err != nil {
		return o, err
	}
	ring, err := c.keys(ctx)
	if err != nil {
		return o, err
	}
	return withKey(o, ring.Current()), nil
}

// optionsToRead are those without a key: who only reads tokens needs none.
func (c *Config) optionsToRead(log *slog.Logger) (o warehouse.Options, err error) {
	m, err := models.Open(c.Models)
	if err != nil {
		return o, fmt.Errorf("read OFITEC_MODELS: %w", err)
	}
	return warehouse.Options{Region: events.Region(c.Region), Models: m, Spool: filepath.Join(c.ownDir(), "spool"), Log: log}, nil
}

// keys are those of the tokens; they are read once.
func (c *Config) keys(ctx context.Context) (*token.Ring, error) {
	if err := c.fetchKeys(ctx); err != nil {
		return nil, err
	}
	if c.ring != nil {
		return c.ring, nil
	}
	var err error
	c.ring, err = token.OpenRing(c.TokenKeyFile)
	return c.ring, err
}

func withKey(o warehouse.Options, key *token.Sealer) warehouse.Options {
	o.Tokens, o.TokenVersion = key, key.Version()
	return o
}

// fitting are the options with the key that a file was made by, where it is at hand. A file that says nothing, as a new one, leaves them as they are.
func (c *Config) fitting(ctx context.Context, db *sql.DB, o warehouse.Options) warehouse.Options {
	made, err := warehouse.MadeBy(ctx, db)
	if err != nil || c.ring == nil {
		return o
	}
	if key := c.ring.Of(made.TokenKey); key != nil {
		return withKey(o, key)
	}
	return o
}

// openWarehouse opens the file, after a rebuilt one has taken its place if there is one. A file that was made by other models or another key is put aside, and made anew from the raw files
// and their manifest.
func (c *Config) openWarehouse(ctx context.Context, log *slog.Logger) (*warehouse.Warehouse, error) {
	options, err := c.options(ctx, log)
	if err != nil {
		return nil, err
	}
	if adopted, err := c.adopt(ctx); err != nil {
		return nil, err
	} else if adopted != "" {
		log.InfoContext(ctx, "the rebuilt warehouse has taken the place of the one before", "the_one_before", adopted)
	}
	w, err := c.openFile(ctx, c.file(), options)
	if err == nil {
		err = c.removeErased(ctx, w)
	}
	if !errors.Is(err, warehouse.ErrOtherRules) {
		return w, err
	}
	if c.kept {
		return nil, fmt.Errorf("%w: %w", errOtherKeys, err)
	}
	aside, moved := c.putAside()
	if moved != nil {
		return nil, moved
	}
	log.WarnContext(ctx, "the warehouse is made anew from the raw files", "because", err.Error(), "the_one_before", aside)
	return c.openFile(ctx, c.file(), options)
}

func (c *Config) openFile(ctx context.Context, path string, options warehouse.Options) (*warehouse.Warehouse, error) {
	db, err := duckdb.Open(ctx, path, c.engine(false))
	if err != nil {
		return nil, err
	}
	w, err := warehouse.New(ctx, db, c.fitting(ctx, db, options))
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return w, nil
}

func (c *Config) engine(readOnly bool) duckdb.Options {
	return duckdb.Options{ReadOnly: readOnly, MemoryLimit: c.Engine.MemoryLimit, Threads: c.threads(), TempDir: filepath.Join(c.ownDir(), "spill")}
}

// log is the engine's file of what is not in the warehouse's yet.
func logOf(path string) string { return path + ".wal" }

// putAside gives the file another name, and its log with it.
func (c *Config) putAside() (aside string, err error) {
	aside = c.file() + "." + time.Now().UTC().Format("20060102T150405Z")
	for _, name := range []func(string) string{logOf, func(path string) string { return path }} {
		if err := os.Rename(name(c.file()), name(aside)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("put warehouse aside: %w", err)
		}
	}
	return aside, nil
}

// adopt puts a rebuilt file in the place of the one before, which nobody may have open, and says where that is now; "" when there is none. The service and the command that has made it may both
// be about to: one goes first, or the new file would be put aside for itself.
func (c *Config) adopt(ctx context.Context) (aside string, err error) {
	if _, err := os.Stat(c.next()); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	folder, err := os.Open(c.Warehouse)
	if err != nil {
		return "", fmt.Errorf("put rebuilt warehouse in place: %w", err)
	}
	defer func() { _ = folder.Close() }() // which ends the lock
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("put rebuilt warehouse in place: lock %s: %w", c.Warehouse, err)
	}
	if _, err := os.Stat(c.next()); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if _, err := os.Stat(c.file()); err == nil {
		db, err := duckdb.Open(ctx, c.file(), c.engine(false))
		if errors.Is(err, duckdb.ErrInUse) {
			return "", err
		}
		if err == nil {
			_ = db.Close() // a damaged one is replaced all the same
		}
	}
	if aside, err = c.putAside(); err != nil {
		return "", err
	}
	failPoint("put aside")
	if err := os.Rename(c.next(), c.file()); err != nil {
		return "", fmt.Errorf("put rebuilt warehouse in place: %w", err)
	}
	return aside, nil
}

// reading is a warehouse that is open for questions.
type reading struct {
	*warehouse.Warehouse
	Path string
	Made warehouse.Made
}

// openReading opens the file, or the readers' copy of it while the service has it open.
func (c *Config) openReading(ctx context.Context) (*reading, error) {
	r, err := c.read(ctx, c.file())
	if errors.Is(err, duckdb.ErrInUse) {
		if _, gone := os.Stat(snapshotFile(c.snapshots())); gone != nil {
			return nil, fmt.Errorf("%w; there is no snapshot yet: %w", err, gone)
		}
		r, err = c.read(ctx, snapshotFile(c.snapshots()))
	}
	return r, err
}

// read opens any warehouse of these models, by whichever key its tokens are.
func (c *Config) read(ctx context.Context, path string) (*reading, error) {
	options, err := c.optionsToRead(discarding)
	if err != nil {
		return nil, err
	}
	db, err := duckdb.Open(ctx, path, c.engine(true))
	if err != nil {
		return nil, err
	}
	made, err := warehouse.MadeBy(ctx, db)
	if err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open warehouse %s: %w", path, err)
	}
	options.TokenVersion = made.TokenKey
	w, err := warehouse.Read(ctx, db, options)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &reading{Warehouse: w, Path: path, Made: made}, nil
}
