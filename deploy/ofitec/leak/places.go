package leak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kinds of places.
const (
	Log         = "log"
	Metrics     = "metrics"
	Arguments   = "arguments"
	Environment = "environment"
	FileMode    = "file mode"
	Message     = "message"
	State       = "state"
)

// Kinds lists all kinds in the order in which they are told.
var Kinds = []string{Log, Metrics, Arguments, Environment, FileMode, Message, State}

// maxFile is the size beyond which a file is not read: no program of ours writes secrets into one so large.
const maxFile = 64 << 20

// Leak is a secret, by its name, where it must not be.
type Leak struct {
	Secret string `json:"secret"`
	Kind   string `json:"kind"`
	Where  string `json:"where"`
}

// Search goes from place to place. It is not safe for concurrent use.
type Search struct {
	finder *Finder
	Looked map[string]int // how many places of each kind
	Found  []Leak
	Missed []string // what could not be looked at, with the reason
}

// NewSearch begins a search that has looked nowhere yet.
func NewSearch(finder *Finder) *Search {
	return &Search{finder: finder, Looked: map[string]int{}, Found: []Leak{}, Missed: []string{}}
}

// Look looks into one place.
func (s *Search) Look(kind, where string, text []byte) {
	s.Looked[kind]++
	for _, secret := range s.finder.In(text) {
		if leak := (Leak{secret, kind, where}); !slices.Contains(s.Found, leak) {
			s.Found = append(s.Found, leak)
		}
	}
}

// Miss notes a place that could not be looked at.
func (s *Search) Miss(where string, err error) {
	s.Missed = append(s.Missed, fmt.Sprintf("%s: %v", where, err))
}

// Files looks at all below a folder: no log may have a secret, and no other file that somebody beside its owner can read. Whoever cannot enter a folder reads nothing in it.
func (s *Search) Files(root string) {
	closed := "" // the folder that only its owner enters, with a separator behind it
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it has just gone
		}
		if err != nil {
			s.Miss(path, err)
			return nil
		}
		info, err := entry.Info()
		if err == nil && entry.IsDir() && info.Mode().Perm()&0o011 == 0 && (closed == "" || !strings.HasPrefix(path, closed)) {
			closed = path + string(filepath.Separator)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		if err != nil || info.Size() > maxFile {
			return nil //nolint:nilerr // gone, or too large for a secret of ours
		}
		kind := FileMode
		if filepath.Base(filepath.Dir(path)) == "log" && strings.HasSuffix(strings.TrimSuffix(path, ".1"), ".log") {
			kind = Log
		}
		private := info.Mode().Perm()&0o077 == 0 || closed != "" && strings.HasPrefix(path, closed)
		if kind == FileMode && private {
			s.Looked[kind]++
			return nil
		}
		content, err := os.ReadFile(path) //nolint:gosec // a link that is put there meanwhile leads to another text that is searched; none is shown
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			s.Miss(path, err)
		case kind == FileMode:
			s.Look(kind, path+" is "+info.Mode().Perm().String(), content)
		default:
			s.Look(kind, path, content)
		}
		return nil
	})
}

// Processes looks at the arguments of all processes of the machine, and at the environment of all whose program is not the application, which is given its secrets.
func (s *Search) Processes(application string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		arguments, err := os.ReadFile(dir + "/cmdline")
		if err != nil || len(arguments) == 0 {
			continue // it has ended, or is the kernel's
		}
		program, _, _ := strings.Cut(string(arguments), "\x00")
		where := "process " + filepath.Base(dir) + ", " + filepath.Base(program)
		s.Look(Arguments, where, arguments)
		if filepath.Base(program) == application {
			continue
		}
		environment, err := os.ReadFile(dir + "/environ")
		if err != nil {
			continue // it has ended, or is not ours: of a stack that root has started, root reads all
		}
		s.Look(Environment, where, environment)
	}
}

// Metrics looks at what a target tells Prometheus.
func (s *Search) Metrics(ctx context.Context, client *http.Client, name, address string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		s.Miss("metrics of "+name, err)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		s.Miss("metrics of "+name, err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxFile))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answers %d", response.StatusCode)
	}
	if err != nil {
		s.Miss("metrics of "+name, err)
		return
	}
	s.Look(Metrics, name, text)
}
