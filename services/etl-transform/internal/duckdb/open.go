// Package duckdb opens the warehouse's file. It is the only place that knows the driver.
package duckdb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	duckdb "github.com/duckdb/duckdb-go/v2"
)

// Options bound what the engine may use.
type Options struct {
	MemoryLimit string // as 2GiB
	Threads     int
	ReadOnly    bool   // nothing is made or changed; others may read the file at the same time
	TempDir     string // where it spills to; made when it is not there, mode 0700, because a spill may hold what is not yet a token
}

// logLimit is how large the engine's log may grow before it is worked into the file, which rewrites parts of every table that was changed: at the engine's own 16 MiB that would be every second delta
// of ten thousand rows. After a crash so much is read again at the start.
const logLimit = "64MiB"

// ErrInUse says that another process has the file open.
var ErrInUse = errors.New("the warehouse is open in another process; one process writes, readers use its snapshot")

// ErrDamaged says that the file cannot be read as a warehouse.
var ErrDamaged = errors.New("the warehouse file is damaged; etl-transform rebuild (ofitec etl rebuild) makes it anew from the raw files")

// Broken says that the engine has given up on the open file, as after a disk that was full while it wrote its log; opened anew it goes on from the last transaction.
func Broken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "database has been invalidated")
}

// Told puts ErrDamaged before what the engine says of a block that it could not read for a question; one that it needs to open the file is told by Open.
func Told(err error) error {
	if err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "Corrupt database file") {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

var holder = regexp.MustCompile(`\(PID (\d+)\)`)

// Open opens the file, or makes it. The caller closes the pool, which is safe for concurrent use. TEMP tables live in one connection only.
func Open(ctx context.Context, path string, o Options) (*sql.DB, error) {
	for _, folder := range []string{filepath.Dir(path), o.TempDir} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("open warehouse: %w", err)
		}
	}
	settings := []string{
		"SET memory_limit = '" + strings.ReplaceAll(o.MemoryLimit, "'", "''") + "'",
		fmt.Sprintf("SET threads = %d", o.Threads),
		"SET temp_directory = '" + strings.ReplaceAll(o.TempDir, "'", "''") + "'",
		"SET checkpoint_threshold = '" + logLimit + "'",
		"SET TimeZone = 'UTC'", // times without an offset are UTC by the export's contract
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
	}
	address := path
	if o.ReadOnly {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("open warehouse: %w", err)
		}
		address += "?access_mode=READ_ONLY"
	}
	connector, err := duckdb.NewConnector(address, func(conn driver.ExecerContext) error {
		for _, setting := range settings {
			if _, err := conn.ExecContext(ctx, setting, nil); err != nil {
				return fmt.Errorf("%s: %w", setting, err)
			}
		}
		return nil
	})
	if err == nil {
		db := sql.OpenDB(connector)
		if err = db.PingContext(ctx); err == nil {
			return db, nil
		}
		_ = db.Close() // the first error tells more
	}
	return nil, fmt.Errorf("open warehouse %s: %w", path, explain(err))
}

// explain puts a sentence before the engine's own words where we know what they mean.
func explain(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "Could not set lock"):
		if pid := holder.FindStringSubmatch(text); pid != nil {
			return fmt.Errorf("%w (process %s)", ErrInUse, pid[1])
		}
		return ErrInUse
	case strings.Contains(text, "not a valid DuckDB database"), strings.Contains(text, "checksum"), strings.Contains(text, "Corrupt"):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
