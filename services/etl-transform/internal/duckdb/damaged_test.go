package duckdb

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestABlockThatCannotBeReadIsToldWithTheWayOut damages a file where it is opened without a word.
func TestABlockThatCannotBeReadIsToldWithTheWayOut(t *testing.T) {
	folder := t.TempDir()
	path, o := filepath.Join(folder, "some.duckdb"), Options{MemoryLimit: "256MiB", Threads: 1, TempDir: folder}
	db, err := Open(t.Context(), path, o)
	if err == nil {
		_, err = db.ExecContext(t.Context(), "CREATE TABLE numbers AS SELECT hash(range) AS n FROM range(400000); CHECKPOINT")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(content[len(content)/2:], bytes.Repeat([]byte{0xa5}, 64))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err = Open(t.Context(), path, o); err != nil {
		t.Fatalf("the damage is not where it should be: %v", err)
	}
	defer func() { _ = db.Close() }()
	var sum any
	err = db.QueryRowContext(t.Context(), "SELECT sum(n) FROM numbers").Scan(&sum)
	if err == nil || errors.Is(err, ErrDamaged) {
		t.Fatalf("the engine says %v", err)
	}
	if told := Told(err); !errors.Is(told, ErrDamaged) || !strings.Contains(told.Error(), "ofitec etl rebuild") || !errors.Is(told, err) {
		t.Errorf("it is told as %v", told)
	}
	if other := errors.New("no space left on device"); !errors.Is(Told(other), other) || errors.Is(Told(other), ErrDamaged) || Told(nil) != nil {
		t.Error("something else is told as damage")
	}
}
