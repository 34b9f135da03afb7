package models

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

//go:embed datasets/*.yml
var builtin embed.FS

// datasetsFolder is where dataset files are, in the built-in models and in a user's folder.
const datasetsFolder = "datasets"

// Builtin is the models that come with the program.
func Builtin() fs.FS { return builtin }

// Models is everything that was loaded. It is read-only and safe for concurrent use.
type Models struct {
	datasets []Dataset
}

// Datasets lists all datasets in order of their names.
func (m *Models) Datasets() []Dataset { return m.datasets }

// Dataset finds a dataset by name.
func (m *Models) Dataset(name string) (Dataset, bool) {
	i, found := slices.BinarySearchFunc(m.datasets, name, func(d Dataset, n string) int { return strings.Compare(d.Name, n) })
	if !found {
		return Dataset{}, false
	}
	return m.datasets[i], true
}

// Problem is one mistake in a model file.
type Problem struct {
	File string
	// Line counts from 1; 0 when the mistake has no line, as a missing file.
	Line int
	// Field is the path inside the file, as columns[3].type.
	Field string
	// Text says what is wrong and what would be right.
	Text string
}

func (p Problem) Error() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Field != "" {
		place += ": " + p.Field
	}
	return place + ": " + p.Text
}

// Invalid holds all mistakes of the models, in order of file and line.
type Invalid struct{ Problems []Problem }

func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Open loads the models of a folder laid over the built-in ones: a file there replaces the built-in file of the same
// path, others are added. An empty folder name means the built-in models alone.
// A model that does not hold together gives *Invalid with every problem; a folder that cannot be read gives that error.
func Open(folder string) (*Models, error) {
	if folder == "" {
		return Load(builtin)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return nil, fmt.Errorf("open models: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open models: %s is not a folder", folder)
	}
	return Load(builtin, os.DirFS(folder))
}

// Load reads the models of layers; a later layer's file replaces an earlier one's of the same path.
func Load(layers ...fs.FS) (*Models, error) {
	owner := map[string]fs.FS{}
	for _, layer := range layers {
		entries, err := fs.ReadDir(layer, datasetsFolder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list datasets: %w", err)
		}
		for _, entry := range entries {
			if ext := path.Ext(entry.Name()); !entry.IsDir() && (ext == ".yml" || ext == ".yaml") {
				owner[path.Join(datasetsFolder, entry.Name())] = layer
			}
		}
	}
	return loadFiles(owner)
}

func loadFiles(owner map[string]fs.FS) (*Models, error) {
	files := make([]string, 0, len(owner))
	for file := range owner {
		files = append(files, file)
	}
	slices.Sort(files)

	var parsed []parsedDataset
	var problems []Problem
	for _, file := range files {
		text, err := fs.ReadFile(owner[file], file)
		if err != nil {
			return nil, fmt.Errorf("read model: %w", err)
		}
		d, found := parseDataset(file, text)
		problems = append(problems, found...)
		parsed = append(parsed, d)
	}
	problems = append(problems, checkTogether(parsed)...)
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int {
			if a.File != b.File {
				return strings.Compare(a.File, b.File)
			}
			return a.Line - b.Line
		})
		return nil, &Invalid{Problems: problems}
	}
	m := &Models{}
	for _, p := range parsed {
		m.datasets = append(m.datasets, p.Dataset)
	}
	slices.SortFunc(m.datasets, func(a, b Dataset) int { return strings.Compare(a.Name, b.Name) })
	return m, nil
}
