package servers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAServerInPathIsTakenOnlyInAFittingVersion(t *testing.T) {
	for printed, fits := range map[string]bool{
		"nats-server: v2.15.2":        true,
		"nats-server: v2.16.0":        true,
		"nats-server: v2.9.10":        false,
		"nats-server: v3.0.0":         false,
		"etcd Version without number": false,
	} {
		if got := compatible(printed, NATS.Version); got != fits {
			t.Errorf("%q: fits = %v, want %v", printed, got, fits)
		}
	}
}

func TestAServerInTheCacheIsFoundAndAnOldBuildIsNot(t *testing.T) {
	t.Setenv("OFITEC_CACHE", t.TempDir())
	t.Setenv("PATH", "/nonexistent")
	path, ok := Etcd.Find(context.Background())
	if ok {
		t.Fatalf("found %s in an empty cache", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if found, ok := Etcd.Find(context.Background()); !ok || found != path {
		t.Fatalf("found %q, %v; want %q", found, ok, path)
	}
	if !strings.Contains(path, Etcd.Version) {
		t.Errorf("%s does not name the version %s", path, Etcd.Version)
	}
}

func TestWithoutGoTheErrorNamesTheWayOut(t *testing.T) {
	t.Setenv("OFITEC_CACHE", t.TempDir())
	t.Setenv("PATH", "/nonexistent")
	_, err := NATS.Ensure(context.Background(), func(string, ...any) {})
	if err == nil || !strings.Contains(err.Error(), "go command is not in PATH") {
		t.Fatalf("error %v does not say what is missing", err)
	}
}
