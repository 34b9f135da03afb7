// Package servers obtains the real servers that no Debian package has in a fitting version: NATS, etcd, Vault and MinIO.
// They are taken from PATH when there, else built once from the Go module proxy into a cache outside the data folder.
package servers

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed *.mod *.sum
var modules embed.FS

// Server is one program and how it is had.
type Server struct {
	Name    string // name of the program, in PATH and in the cache
	Version string // the version that is built
	// versionArgs print the version; MinIO built from source prints none, so it is never taken from PATH by version.
	versionArgs []string
	pkg         string // package to build
	module      string // base name of the embedded module files
	minutes     int    // order of magnitude of a build on two cores, to tell the operator
	bytes       uint64 // disk space that a build needs
}

// The servers of the stack.
var (
	NATS  = Server{"nats-server", "2.15.2", []string{"--version"}, "github.com/nats-io/nats-server/v2", "nats", 1, 1 << 30}
	Etcd  = Server{"etcd", "3.7.3", []string{"--version"}, "go.etcd.io/etcd/server/v3", "etcd", 2, 1 << 30}
	Vault = Server{"vault", "1.21.0", []string{"version"}, "github.com/hashicorp/vault", "vault", 12, 6 << 30}
	MinIO = Server{"minio", "2026-02-12", nil, "github.com/minio/minio", "minio", 5, 3 << 30}
)

// All lists the servers in the order in which they are wanted: what everything needs comes first, the long build last.
var All = []Server{NATS, Etcd, MinIO, Vault}

// Progress is called with one line of human-readable progress now and then.
type Progress func(format string, args ...any)

// CacheDir is where built servers are kept: OFITEC_CACHE, else /var/cache/ofitec for root (whose home other users cannot enter), else the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("OFITEC_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/cache/ofitec", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w; set OFITEC_CACHE", err)
	}
	return filepath.Join(dir, "ofitec"), nil
}

// Find says where a server is without building it; ok is false when it must be built first.
func (s Server) Find(ctx context.Context) (path string, ok bool) {
	if path, err := exec.LookPath(s.Name); err == nil && s.fits(ctx, path) {
		return path, true
	}
	path, err := s.cached()
	if err != nil {
		return "", false
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
		return path, true
	}
	return path, false
}

// Ensure finds the server or builds it. Two processes that need the same one build it once: the second waits on a lock.
func (s Server) Ensure(ctx context.Context, progress Progress) (string, error) {
	path, ok := s.Find(ctx)
	if ok {
		return path, nil
	}
	if path == "" {
		_, err := CacheDir()
		return "", err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // users of the components run what is in it
		return "", fmt.Errorf("make the cache folder: %w; set OFITEC_CACHE to a folder that can be written", err)
	}
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, ok := s.Find(ctx); ok {
		return path, nil
	}
	if err := s.build(ctx, path, progress); err != nil {
		return "", fmt.Errorf("build %s %s: %w", s.Name, s.Version, err)
	}
	return path, nil
}

// cached is the path in the cache; it changes with the pinned modules, so an old build is never taken for a new one.
func (s Server) cached() (string, error) {
	dir, err := CacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, suffix := range []string{".mod", ".sum"} {
		content, err := modules.ReadFile(s.module + suffix)
		if err != nil {
			return "", fmt.Errorf("read embedded module of %s: %w", s.Name, err)
		}
		sum.Write(content)
	}
	return filepath.Join(dir, "servers", s.Name+"-"+s.Version+"-"+hex.EncodeToString(sum.Sum(nil)[:4]), s.Name), nil
}

var versionPattern = regexp.MustCompile(`(\d+)\.(\d+)\.(\d+)`)

// fits says whether the program prints the wanted major version and at least the wanted minor one.
func (s Server) fits(ctx context.Context, path string) bool {
	if s.versionArgs == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, s.versionArgs...).Output()
	return err == nil && compatible(string(out), s.Version)
}

func compatible(printed, wanted string) bool {
	have, want := versionPattern.FindStringSubmatch(printed), versionPattern.FindStringSubmatch(wanted)
	if have == nil || want == nil || have[1] != want[1] {
		return false
	}
	haveMinor, _ := strconv.Atoi(have[2])
	wantMinor, _ := strconv.Atoi(want[2])
	return haveMinor >= wantMinor
}

func (s Server) build(ctx context.Context, path string, progress Progress) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not in PATH; install Go 1.26, or put the server into PATH")
	}
	work := filepath.Join(filepath.Dir(path), "build")
	if err := os.MkdirAll(work, 0o755); err != nil { //nolint:gosec // users of the components run what is in it
		return fmt.Errorf("make the build folder: %w", err)
	}
	if free, err := freeBytes(work); err == nil && free < s.bytes {
		return fmt.Errorf("%s has %d MiB free and the build needs %d MiB; free some, or set OFITEC_CACHE", work, free>>20, s.bytes>>20)
	}
	for _, suffix := range []string{"mod", "sum"} {
		content, err := modules.ReadFile(s.module + "." + suffix)
		if err != nil {
			return fmt.Errorf("read embedded module: %w", err)
		}
		if err := os.WriteFile(filepath.Join(work, "go."+suffix), content, 0o600); err != nil {
			return fmt.Errorf("write module: %w", err)
		}
	}
	progress("%s %s: building once, about %d min on two cores", s.Name, s.Version, s.minutes)
	began := time.Now()
	built := path + ".partial"
	if err := s.compile(ctx, work, built, progress); err != nil {
		return err
	}
	if err := os.Rename(built, path); err != nil {
		return fmt.Errorf("keep the built server: %w", err)
	}
	progress("%s %s: built in %s", s.Name, s.Version, time.Since(began).Round(time.Second))
	return os.RemoveAll(work)
}

// compile runs go build and turns the packages that it names into progress.
func (s Server) compile(ctx context.Context, work, built string, progress Progress) error {
	env := append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	total := 0
	list := exec.CommandContext(ctx, "go", "list", "-mod=readonly", "-deps", s.pkg)
	list.Dir, list.Env = work, env
	if out, err := list.Output(); err == nil {
		total = strings.Count(string(out), "\n")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-ldflags=-s -w", "-mod=readonly", "-o", built, s.pkg)
	cmd.Dir, cmd.Env = work, env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	output, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("open pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go build: %w", err)
	}
	compiled, said := 0, time.Now()
	var last []string
	for scanner := bufio.NewScanner(output); scanner.Scan(); {
		compiled++
		last = append(last, scanner.Text())
		if len(last) > 5 {
			last = last[1:]
		}
		if time.Since(said) > 15*time.Second {
			said = time.Now()
			progress("%s %s: %d of %d packages", s.Name, s.Version, compiled, total)
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, strings.Join(last, " | "))
	}
	return nil
}

func freeBytes(dir string) (uint64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("stat file system of %s: %w", dir, err)
	}
	return stat.Bavail * uint64(stat.Bsize), nil
}

// lock takes an exclusive lock on a file that it makes, and waits for it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock %s: %w", path, err)
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return nil, fmt.Errorf("wait for another build that holds %s: %w", path, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}
