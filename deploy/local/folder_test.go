package local

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

func plenty(string) (uint64, error) { return 100 << 30, nil }

// dataFolder is a path for a data folder that every user may enter, as root's own temporary folders are not.
func dataFolder(t *testing.T) string {
	t.Helper()
	base, err := os.MkdirTemp("/var/tmp", "ofitec-folder-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(base, "state")
}

// tree is all that is below a folder, with what the files say.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		content := ""
		if entry.Type().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(b)
		}
		all = append(all, path+": "+content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// made opens a folder as a start does.
func made(t *testing.T, data string) *folder {
	t.Helper()
	f, err := inspectFolder(Options{Data: data}, plenty)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.close() })
	if err := f.make(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(f.layout.SocketRoot()) })
	return f
}

func TestARefusedFolderIsNamedWithTheWayOutAndNothingIsWritten(t *testing.T) {
	scarce := func(string) (uint64, error) { return 1 << 30, nil }
	here := layout.Loopback()
	for _, c := range []struct {
		name   string
		files  map[string]string
		change func(o *Options)
		free   func(string) (uint64, error)
		says   []string
	}{
		{name: "stack.json is no JSON", files: map[string]string{"stack.json": "{"}, says: []string{"is damaged: stack.json", "remove the folder or restore the file"}},
		{name: "stack.json is empty", files: map[string]string{"stack.json": ""}, says: []string{"is damaged: stack.json", "remove the folder or restore the file"}},
		{name: "another format", files: map[string]string{"stack.json": `{"format": 7}`}, says: []string{"has format 7, this program knows 1", "another folder with --data"}},
		{name: "a stamp without addresses", files: map[string]string{"stack.json": `{"format": 1}`}, says: []string{"another folder with --data"}},
		{name: "a stranger's folder", files: map[string]string{"letters/mother.txt": "dear"}, says: []string{"is not empty and has no stack.json", "choose another with --data"}},
		{name: "no space on the disk", free: scarce, says: []string{"1024 MiB free, the stack needs 3072 MiB", "choose another disk with --data"}},
		{name: "no space for a folder that is there", files: map[string]string{"stack.json": "*"}, free: scarce, says: []string{"1024 MiB free", "choose another disk with --data"}},
		{
			name: "other addresses", files: map[string]string{"stack.json": "*"}, change: func(o *Options) { o.Addresses = map[string]string{"a": "127.0.1.11"} },
			says: []string{"was made for regions at " + here.Region[layout.A], "this start asks for regions at 127.0.1.11", "use another folder with --data"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := dataFolder(t)
			for path, content := range c.files {
				path = filepath.Join(data, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if content == "*" { // the stamp of a folder that a start has made
					f := made(t, data)
					_ = f.close()
					continue
				}
				if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			before := tree(t, filepath.Dir(data))
			options, free := Options{Data: data}, c.free
			if c.change != nil {
				c.change(&options)
			}
			if free == nil {
				free = plenty
			}
			_, err := inspectFolder(options, free)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range append(c.says, data) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it says %q, without %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if after := tree(t, filepath.Dir(data)); !slices.Equal(before, after) {
				t.Errorf("it wrote: before %q, after %q", before, after)
			}
		})
	}
}

func TestAFolderInUseIsRefusedWithItsProcess(t *testing.T) {
	data := dataFolder(t)
	f := made(t, data)
	before := tree(t, data)
	_, err := inspectFolder(Options{Data: data}, plenty)
	if err == nil || !strings.Contains(err.Error(), "in use by another ofitec up (process ") || !strings.Contains(err.Error(), "ofitec down --data "+data) {
		t.Errorf("it says %v", err)
	}
	if after := tree(t, data); !slices.Equal(before, after) {
		t.Errorf("it wrote: before %q, after %q", before, after)
	}
	_ = f.close()
	again, err := inspectFolder(Options{Data: data}, plenty)
	if err != nil {
		t.Fatalf("a second start: %v", err)
	}
	defer func() { _ = again.close() }()
	if err := again.make(); err != nil || !again.stamp.Made.Equal(f.stamp.Made) {
		t.Errorf("a second start makes the folder anew: %+v, %v", again.stamp, err)
	}
}

func TestAFailedStartRemovesWhatItHasMadeAndNothingElse(t *testing.T) {
	t.Run("a folder that was not there", func(t *testing.T) {
		data := filepath.Join(dataFolder(t), "deep", "er")
		base := filepath.Dir(filepath.Dir(filepath.Dir(data)))
		before := tree(t, base)
		f := made(t, data)
		if err := os.MkdirAll(filepath.Join(data, "operator", "identity"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(f.layout.SocketRoot(), "a"), 0o755); err != nil {
			t.Fatal(err)
		}
		f.undo()
		if after := tree(t, base); !slices.Equal(before, after) {
			t.Errorf("left: %q", after)
		}
		if _, err := os.Lstat(f.layout.SocketRoot()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder of sockets is left: %v", err)
		}
	})
	t.Run("a folder below one that is root's alone", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root's data live elsewhere than where they were asked for")
		}
		private := dataFolder(t)
		if err := os.Mkdir(private, 0o700); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(private, "deep", "state")
		f := made(t, data)
		t.Cleanup(func() { _ = os.RemoveAll(f.layout.Root) })
		if link, err := os.Readlink(data); err != nil || link != f.layout.Root {
			t.Errorf("%s leads to %q, %v; want %s", data, link, err, f.layout.Root)
		}
		f.undo()
		if _, err := os.Lstat(f.layout.Root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the data are left: %v", err)
		}
		if after := tree(t, private); len(after) != 1 {
			t.Errorf("left: %q", after)
		}
	})
	t.Run("an empty folder that was there", func(t *testing.T) {
		data := dataFolder(t)
		if err := os.Mkdir(data, 0o755); err != nil {
			t.Fatal(err)
		}
		made(t, data).undo()
		if after := tree(t, data); len(after) != 1 {
			t.Errorf("left: %q", after)
		}
	})
	t.Run("a folder with a stack's data", func(t *testing.T) {
		data := dataFolder(t)
		_ = made(t, data).close()
		if err := os.WriteFile(filepath.Join(data, "precious"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		before := tree(t, data)
		made(t, data).undo()
		if after := tree(t, data); !slices.Equal(before, after) {
			t.Errorf("before %q, after %q", before, after)
		}
	})
	t.Run("a folder that another start has taken meanwhile", func(t *testing.T) {
		data := dataFolder(t)
		late, err := inspectFolder(Options{Data: data}, plenty)
		if err != nil {
			t.Fatal(err)
		}
		made(t, data)
		before := tree(t, data)
		if err := late.make(); err == nil || !strings.Contains(err.Error(), "in use by another ofitec up") {
			t.Errorf("it says %v", err)
		}
		late.undo()
		if after := tree(t, data); !slices.Equal(before, after) {
			t.Errorf("before %q, after %q", before, after)
		}
	})
}

func TestTakenAddressesAreToldInOneLineBeforeAnythingIsMade(t *testing.T) {
	// An address of the stack on loopback that nobody else in this repository's tests uses.
	addresses := map[string]string{"a": "127.0.91.11", "b": "127.0.91.12", "c": "127.0.91.13"}
	options := Options{Data: dataFolder(t), Addresses: addresses}
	f, err := inspectFolder(options, plenty)
	if err != nil {
		t.Fatal(err)
	}
	a := f.layout.Addressing
	for _, addr := range []string{a.Addr(layout.A, layout.PortNATS), a.Addr(layout.B, layout.PortEtcd), a.Addr(layout.C, layout.PortVault)} {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
	}
	before := tree(t, filepath.Dir(options.Data))
	_, err = admit(t.Context(), options)
	if err == nil {
		t.Fatal("the start is admitted")
	}
	for _, want := range []string{"127.0.91.11:4222, wanted by nats, is in use by process ", "more of the stack's addresses", "then start again"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it says %q, without %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	if after := tree(t, filepath.Dir(options.Data)); !slices.Equal(before, after) {
		t.Errorf("it wrote %q", after)
	}
	if _, err := os.Lstat(f.layout.SocketRoot()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of sockets is there: %v", err)
	}
}

func TestMissingProgramsAreListedInOneLine(t *testing.T) {
	err := Options{Binaries: t.TempDir()}.checkBinaries()
	if err == nil || !strings.Contains(err.Error(), "console") || !strings.Contains(err.Error(), "failover-arbiter") || !strings.Contains(err.Error(), "make build") || strings.Contains(err.Error(), "\n") {
		t.Errorf("it says %v", err)
	}
}

func TestARestoreWaitsForNothingThatNeedsVaultWhereThereIsNone(t *testing.T) {
	s := regionStack(t)
	if out := s.leftOut(); len(out) != 0 {
		t.Errorf("left out with Vault: %v", out)
	}
	s.options.WithoutVault = true
	if out := s.leftOut(); !slices.Equal(out, []string{"rotator", "deployer"}) {
		t.Errorf("left out without Vault: %v", out)
	}
}
