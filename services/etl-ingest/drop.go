package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/odoo"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/parquet"
	"github.com/ofitec/ofitec/services/etl-ingest/internal/spool"
)

// dropped takes files that people have put into a folder, in place of an export: OFITEC_DROP_DIR/<dataset>/<any name>. A file that was taken moves to taken/, one that cannot be to
// refused/, with its reason beside it. A crash in between takes it again, which changes nothing: whoever loads the rows knows them. The cursor does not move.
type dropped struct {
	dir    string
	puller *puller
}

// Folders beside the files.
const (
	takenFolder   = "taken"
	refusedFolder = "refused"
)

// settledAfter is how long a file must not have changed: it may still be on its way. Who renames a file into the folder need not wait for it, but does.
const settledAfter = 2 * time.Second

// dropForms are the endings of names that are taken.
var dropForms = map[string]string{".csv": "csv", ".json": "ndjson", ".ndjson": "ndjson", ".jsonl": "ndjson", parquetForm: "ndjson"}

const parquetForm = ".parquet"

// errRefused is wrapped when a file cannot be taken, however often it is tried.
var errRefused = errors.New("refused")

// take takes what lies there for a dataset, in order of the names. The error is nil when files were refused only: they do not come better by being tried again.
func (d *dropped) take(ctx context.Context, dataset models.Dataset, options ...events.Option) (files int, rows int64, err error) {
	if d == nil {
		return 0, 0, nil
	}
	folder := filepath.Join(d.dir, dataset.Name)
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, storageFailure("look for dropped files", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(entry.Name(), ".") || time.Since(info.ModTime()) < settledAfter {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		taken, err := d.file(ctx, dataset, path, options)
		switch {
		case errors.Is(err, errRefused):
			d.puller.metrics.dropped.WithLabelValues(dataset.Name, "refused").Inc()
			d.puller.log.WarnContext(ctx, "a dropped file is refused", "dataset", dataset.Name, "file", entry.Name(), "error", err)
			err = d.put(path, refusedFolder, err.Error()+"\n")
		case err == nil:
			d.puller.metrics.dropped.WithLabelValues(dataset.Name, "taken").Inc()
			d.puller.log.InfoContext(ctx, "a dropped file is taken", "dataset", dataset.Name, "file", entry.Name(), "rows", taken)
			files, rows = files+1, rows+taken
			err = d.put(path, takenFolder, "")
		}
		if err != nil {
			return files, rows, err
		}
	}
	return files, rows, nil
}

// put moves a file to a folder beside it, and a reason, if there is one, with it. A name that is taken there gets the time.
func (d *dropped) put(path, folder, reason string) error {
	to := filepath.Join(filepath.Dir(path), folder)
	if err := os.MkdirAll(to, 0o750); err != nil {
		return storageFailure("put a dropped file away", err)
	}
	name := filepath.Join(to, filepath.Base(path))
	if _, err := os.Lstat(name); err == nil {
		name += time.Now().UTC().Format(".20060102T150405.000000Z")
	}
	if reason != "" {
		if err := os.WriteFile(name+".reason", []byte(reason), 0o600); err != nil {
			return storageFailure("put a dropped file away", err)
		}
	}
	if err := os.Rename(path, name); err != nil {
		return storageFailure("put a dropped file away", err)
	}
	return nil
}

// file makes one file last as a raw file.
func (d *dropped) file(ctx context.Context, dataset models.Dataset, path string, options []events.Option) (rows int64, err error) {
	epoch, err := d.puller.mandate(ctx)
	if err != nil {
		return 0, err
	}
	draft, err := d.puller.spool.Create()
	if err != nil {
		return 0, storageFailure("spool a dropped file", err)
	}
	defer draft.Discard()
	format, page, err := d.read(dataset, path, draft)
	if err != nil {
		return 0, err
	}
	if page.Rows == 0 {
		return 0, nil
	}
	state, err := d.puller.ledger.states.Get(ctx, dataset.Name)
	if err != nil {
		return 0, &extract.PullError{Code: extract.CodeBus, Reason: "read the cursor", Cause: err}
	}
	d.puller.tellOdd(ctx, dataset, state, page)
	_, err = d.puller.commit(ctx, draft, manifest.Record{
		Kind: manifest.KindRows, Dataset: dataset.Name, Format: format, SHA256: page.SHA256, Rows: page.Rows, Bytes: page.Bytes, Schema: extract.Fingerprint(page.Columns),
		AsOf: events.AsOf{Epoch: epoch, SourceClock: freshness(state, time.Now())},
	}, options)
	return page.Rows, err
}

// freshness is how fresh a dropped file's rows count: as the last pull, so that they overrule nothing that was seen to be gone or otherwise since. A dataset that nobody pulls has our clock.
func freshness(state extract.State, now time.Time) time.Time {
	if state.Cursor != nil {
		return state.Clock
	}
	if now = now.UTC().Truncate(time.Microsecond); now.After(state.Clock) {
		return now
	}
	return state.Clock
}

// read copies a file's plain bytes to the draft and looks at its rows.
func (d *dropped) read(dataset models.Dataset, path string, draft *spool.File) (format string, page extract.Page, err error) {
	refuse := func(why string, args ...any) error {
		return fmt.Errorf("%w: "+why, append([]any{errRefused}, args...)...)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", page, storageFailure("read a dropped file", err)
	}
	defer func() { _ = file.Close() }() // only read
	name := strings.ToLower(filepath.Base(path))
	plain := io.Reader(file)
	if strings.HasSuffix(name, ".gz") {
		if plain, err = gzip.NewReader(file); err != nil {
			return "", page, refuse("it is called .gz and is not gzip")
		}
		name = strings.TrimSuffix(name, ".gz")
	}
	format, known := dropForms[filepath.Ext(name)]
	if !known || plain != file && filepath.Ext(name) == parquetForm {
		return "", page, refuse("its name ends in none of .csv, .json, .ndjson, .jsonl, each perhaps with .gz, and .parquet")
	}
	if format == "ndjson" {
		objects := oneALine(plain)
		if filepath.Ext(name) == parquetForm {
			objects = asLines(file)
		}
		defer func() { _ = objects.Close() }() // only read
		plain = objects
	}
	request := odoo.Request{Dataset: dataset.Name, Columns: odoo.Columns{Key: dataset.Key, Cursor: dataset.Cursor}, Format: format}
	if dataset.Drift == models.Freeze {
		request.Frozen = dataset.Names()
	}
	page, err = odoo.Read(request, plain, draft)
	var failure *extract.PullError
	if errors.As(err, &failure) && failure.Code != extract.CodeStorage || errors.Is(err, errNotJSON) || errors.Is(err, errNotParquet) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = refuse("%s", err)
	}
	return format, page, err
}

// errNotParquet is wrapped when a file cannot be read as Parquet.
var errNotParquet = errors.New("it is not Parquet as it should be")

// asLines gives the rows of a Parquet file as one object a line.
func asLines(file *os.File) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		info, err := file.Stat()
		if err == nil {
			lines := bufio.NewWriterSize(writer, 64<<10)
			err = errors.Join(parquet.Lines(file, info.Size(), lines), lines.Flush())
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", errNotParquet, err)
		}
		writer.CloseWithError(err) // nil is the end
	}()
	return reader
}

// errNotJSON is wrapped when a file is neither a list of objects nor one object after the other.
var errNotJSON = errors.New("it is not JSON: want one object a line, or a list of objects")

// oneALine gives JSON as one object a line, which is how raw files have it. What is so already stays byte for byte; a list, as most programs write it, is taken apart, numbers with all their digits.
func oneALine(from io.Reader) io.ReadCloser {
	buffered := bufio.NewReaderSize(from, 64<<10)
	first, _ := buffered.Peek(512)
	if trimmed := bytes.TrimLeft(bytes.TrimPrefix(first, []byte("\xef\xbb\xbf")), " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '[' {
		return io.NopCloser(buffered)
	}
	if bytes.HasPrefix(first, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3) // they are there
	}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(takeApart(buffered, writer)) }()
	return reader
}

func takeApart(from io.Reader, to io.Writer) error {
	decoder := json.NewDecoder(from)
	if _, err := decoder.Token(); err != nil {
		return errNotJSON
	}
	var line bytes.Buffer
	for decoder.More() {
		var object json.RawMessage
		if err := decoder.Decode(&object); err != nil {
			return fmt.Errorf("%w: %w", errNotJSON, err)
		}
		line.Reset()
		if err := json.Compact(&line, object); err != nil {
			return fmt.Errorf("%w: %w", errNotJSON, err)
		}
		line.WriteByte('\n')
		if _, err := to.Write(line.Bytes()); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return fmt.Errorf("%w: the list does not end", errNotJSON)
	}
	return nil
}

// strangers are the folders in the drop folder that are of no dataset, for people who mistyped a name.
func (d *dropped) strangers(datasets []string) (names []string) {
	if d == nil {
		return nil
	}
	entries, _ := os.ReadDir(d.dir) // a folder that is not there has none
	for _, entry := range entries {
		if !slices.Contains(datasets, entry.Name()) && !strings.HasPrefix(entry.Name(), ".") {
			names = append(names, entry.Name())
		}
	}
	return names
}
