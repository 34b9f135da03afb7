package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// snapshotEvery is how often it is looked whether the copies for readers are those of the last load; a load asks for it at once.
const snapshotEvery = 10 * time.Second

// rest is how many times as long as the last copy took it is waited before the next one: loads, which wait for a copy, lose a tenth of the time at most.
const rest = 9

// snapshots keeps copies for readers, who cannot open the file that is written: the whole file, and each mart as Parquet.
type snapshots struct {
	warehouse *warehouse.Warehouse
	folder    string // below it snapshot/ofitec.duckdb and marts/
	log       *slog.Logger

	wake chan struct{} // never closed; holds one wish at most
	fail atomic.Value  // text of the last failure, "" after a success
	load int64         // of the last copy
}

// Wake makes run look now. It never blocks.
func (s *snapshots) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run renews the copies until the context ends.
func (s *snapshots) run(ctx context.Context) error {
	trouble := notice.New(s.log, "copies for readers are not renewed", nil)
	for {
		began := time.Now()
		done, err := s.step(ctx)
		if ctx.Err() == nil {
			s.note(err)
			trouble.Note(err)
		}
		if done {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(rest * time.Since(began)):
			}
		}
		timer := time.NewTimer(snapshotEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (s *snapshots) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	s.fail.Store(text)
}

// step renews the copies when there was a load since the last ones.
func (s *snapshots) step(ctx context.Context) (done bool, err error) {
	load, err := s.warehouse.LastLoad(ctx)
	if err != nil || load == 0 || load == s.load {
		return false, err
	}
	began := time.Now()
	made, err := s.warehouse.Copy(ctx, snapshotFile(s.folder))
	if err != nil {
		return true, err
	}
	if err := s.marts(ctx, made); err != nil {
		return true, err
	}
	s.load = made.Load
	s.log.InfoContext(ctx, "copies for readers are renewed", "load", made.Load, "seconds", time.Since(began).Seconds())
	return true, nil
}

func snapshotFile(folder string) string { return filepath.Join(folder, "snapshot", "ofitec.duckdb") }

// contents is marts/contents.json: what the Parquet files beside it are.
type contents struct {
	Load     int64           `json:"load"`
	Models   string          `json:"models"`
	Sequence int64           `json:"manifest_sequence"`
	TokenKey string          `json:"token_key"` // its version
	Written  time.Time       `json:"written_at"`
	Marts    map[string]kept `json:"marts"`
}

// kept is one file of it; the digest is that of `etl verify`.
type kept struct {
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"`
}

// marts writes those that have changed into a new folder, links the others into it, and points the name marts to it: readers of the folder never see two loads.
func (s *snapshots) marts(ctx context.Context, made warehouse.Made) error {
	v, err := s.warehouse.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	link := filepath.Join(s.folder, "marts")
	before, last := readContents(link)
	now := contents{Load: v.Load, Models: made.Models, Sequence: v.Sequence, TokenKey: made.TokenKey, Written: time.Now().UTC().Truncate(time.Millisecond), Marts: map[string]kept{}}
	folder := filepath.Join(s.folder, fmt.Sprintf("marts.%d", v.Load))
	if folder == last {
		return nil
	}
	if err := errors.Join(os.RemoveAll(folder), warehouse.MakeReadable(folder)); err != nil {
		return err
	}
	for _, m := range v.Marts {
		if err := v.Know(ctx, m); err != nil {
			return err
		}
		name := m.Name + ".parquet"
		now.Marts[m.Name] = kept{Rows: m.Rows, Digest: m.Digest}
		if before.Models == made.Models && before.Marts[m.Name] == now.Marts[m.Name] && os.Link(filepath.Join(last, name), filepath.Join(folder, name)) == nil {
			continue
		}
		if err := v.WriteParquet(ctx, m, filepath.Join(folder, name)); err != nil {
			return err
		}
		if err := warehouse.MakeReadableFile(filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	if err := now.write(filepath.Join(folder, "contents.json")); err != nil {
		return err
	}
	return point(link, folder)
}

// point moves the link and removes the folders that it has left; whoever has one of their files open reads on.
func point(link, folder string) error {
	next := link + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("show marts: %w", err)
	}
	if err := errors.Join(os.Symlink(filepath.Base(folder), next), os.Rename(next, link)); err != nil {
		return fmt.Errorf("show marts: %w", err)
	}
	others, _ := filepath.Glob(link + ".[0-9]*") // the pattern is sound
	for _, other := range others {
		if other != folder {
			_ = os.RemoveAll(other) // the next one tries again
		}
	}
	return nil
}

// readContents gives what the link shows, and the folder that it leads to; nothing when there is none.
func readContents(link string) (contents, string) {
	target, err := os.Readlink(link)
	if err != nil {
		return contents{}, ""
	}
	folder := filepath.Join(filepath.Dir(link), target)
	text, err := os.ReadFile(filepath.Join(folder, "contents.json"))
	var c contents
	if err != nil || json.Unmarshal(text, &c) != nil {
		return contents{}, ""
	}
	return c, folder
}

func (c contents) write(path string) error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("describe marts: %w", err)
	}
	return warehouse.MakeReadableFile(path)
}

// trouble is what readiness says of it; the service is ready all the same.
func (s *snapshots) trouble() string {
	failure, _ := s.fail.Load().(string)
	if failure == "" {
		return ""
	}
	return "copies for readers are not renewed: " + failure
}
