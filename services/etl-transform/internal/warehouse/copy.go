package warehouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// readable are the modes of what is there for readers: the group of the service's user.
const (
	readableFile   = 0o640
	readableFolder = 0o750
)

// copyFile makes a durable copy that gets its name when it is whole. Another process reads the file: the engine's lock is one of fcntl(2), which this process would lose by
// closing any other descriptor of the file. A file system that shares blocks copies none.
func copyFile(ctx context.Context, from, to string) error {
	if err := MakeReadable(filepath.Dir(to)); err != nil {
		return err
	}
	unfinished := to + ".new"
	if said, err := exec.CommandContext(ctx, "cp", "--reflink=auto", "--", from, unfinished).CombinedOutput(); err != nil {
		_ = os.Remove(unfinished)
		return fmt.Errorf("copy warehouse: %w: %s", err, strings.TrimSpace(string(said)))
	}
	if err := finish(unfinished, to); err != nil {
		_ = os.Remove(unfinished)
		return fmt.Errorf("copy warehouse: %w", err)
	}
	return nil
}

func finish(unfinished, to string) error {
	file, err := os.OpenFile(unfinished, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Chmod(readableFile), file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(unfinished, to)
}

// MakeReadable makes a folder for readers.
func MakeReadable(folder string) error {
	if err := os.MkdirAll(folder, readableFolder); err != nil {
		return fmt.Errorf("make folder for readers: %w", err)
	}
	if err := os.Chmod(folder, readableFolder); err != nil {
		return fmt.Errorf("make folder for readers: %w", err)
	}
	return nil
}

// MakeReadableFile lets readers read a file.
func MakeReadableFile(path string) error {
	if err := os.Chmod(path, readableFile); err != nil {
		return fmt.Errorf("let readers read: %w", err)
	}
	return nil
}

func parquetField(c canon.Column) string {
	column := canon.Quote(c.Name)
	if c.Type == canon.Key {
		return "CAST(" + uuid(column) + " AS UUID) AS " + column
	}
	return column
}
