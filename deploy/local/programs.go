package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// Setup installs and builds all that the stack needs and is missing, and starts nothing.
func Setup(ctx context.Context, progress func(format string, args ...any)) error {
	if err := debian.Ensure(ctx, progress); err != nil {
		return err
	}
	for _, server := range servers.All {
		path, err := server.Ensure(ctx, progress)
		if err != nil {
			return err
		}
		progress("%s %s: %s", server.Name, server.Version, path)
	}
	return nil
}

// programs finds the programs of components and, where their users cannot reach them, gives them a copy that they can.
type programs struct {
	folder string // of copies, inside the data folder
	ours   string // folder of the services' binaries
}

// own is one of the project's programs.
func (p programs) own(name string) (string, error) {
	return p.reachable(filepath.Join(p.ours, name))
}

// packaged is a program of a Debian package.
func (p programs) packaged(name string) (string, error) { return debian.Program(name) }

// built is a server of the cache; it must have been built.
func (p programs) built(ctx context.Context, server servers.Server) (string, error) {
	path, ok := server.Find(ctx)
	if !ok {
		return "", fmt.Errorf("find %s: it has not been built", server.Name)
	}
	return p.reachable(path)
}

// reachable copies a program that stands behind a private folder: a process that gives up root could not execute it.
func (p programs) reachable(path string) (string, error) {
	if os.Geteuid() != 0 || canBeEntered(filepath.Dir(path)) {
		return path, nil
	}
	target := filepath.Join(p.folder, filepath.Base(path))
	same, err := sameContent(path, target)
	if err != nil {
		return "", err
	}
	if same {
		return target, nil
	}
	if err := os.MkdirAll(p.folder, 0o755); err != nil { //nolint:gosec // other users run what is in it
		return "", fmt.Errorf("make folder of programs: %w", err)
	}
	return target, copyFile(path, target)
}

func sameContent(a, b string) (bool, error) {
	first, err := digest(a)
	if err != nil {
		return false, err
	}
	second, err := digest(b)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return first == second, err
}

func digest(path string) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	file, err := os.Open(path)
	if err != nil {
		return sum, fmt.Errorf("read program: %w", err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return sum, fmt.Errorf("read program: %w", err)
	}
	copy(sum[:], hash.Sum(nil))
	return sum, nil
}

// copyFile copies a program aside and renames it into place: a running one cannot be written to.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755) //nolint:gosec // a program that other users run
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(to+".new", to)
	}
	if err != nil {
		return fmt.Errorf("copy program: %w", err)
	}
	return nil
}
