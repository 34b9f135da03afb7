package models

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

//go:embed datasets/*.yml vault/*.yml marts/*.yml marts/*.sql checks.yml
var builtin embed.FS

// Where the files are, in the built-in models and in a user's folder.
const (
	datasetsFolder = "datasets"
	vaultFolder    = "vault"
	martsFolder    = "marts"
	checksFile     = "checks.yml"
)

// Builtin is the models that come with the program.
func Builtin() fs.FS { return builtin }

// Models is everything that was loaded. It is read-only and safe for concurrent use.
type Models struct {
	datasets []Dataset
	exported []Dataset
	vaults   []Vault
	marts    []Mart
	checks   []Check
	version  string
}

// Datasets lists the exports of Odoo in order of their names.
func (m *Models) Datasets() []Dataset { return m.exported }

// All lists every dataset in order of their names, also those that the warehouse writes itself.
func (m *Models) All() []Dataset { return m.datasets }

// Dataset finds a dataset by name.
func (m *Models) Dataset(name string) (Dataset, bool) {
	i, found := slices.BinarySearchFunc(m.datasets, name, func(d Dataset, n string) int { return strings.Compare(d.Name, n) })
	if !found {
		return Dataset{}, false
	}
	return m.datasets[i], true
}

// Vaults lists how datasets are kept in the vault, in order of their names.
func (m *Models) Vaults() []Vault { return m.vaults }

// Vault finds the vault of a dataset.
func (m *Models) Vault(dataset string) (Vault, bool) {
	i := slices.IndexFunc(m.vaults, func(v Vault) bool { return v.Dataset == dataset })
	if i < 0 {
		return Vault{}, false
	}
	return m.vaults[i], true
}

// Marts lists the marts, each behind those that it reads.
func (m *Models) Marts() []Mart { return m.marts }

// Checks lists the tests of the marts in order of the file.
func (m *Models) Checks() []Check { return m.checks }

// Version is a digest of all files: two warehouses can only be compared when it is equal.
func (m *Models) Version() string { return m.version }

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

func (p Problem) String() string {
	place := p.File
	if p.Line > 0 {
		place = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Field != "" {
		place += ": " + p.Field
	}
	return place + ": " + p.Text
}

// InvalidError holds all mistakes of the models, in order of file and line.
type InvalidError struct{ Problems []Problem }

func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Open loads the models of a folder laid over the built-in ones: a file there replaces the built-in file of the same
// path, others are added. An empty folder name means the built-in models alone.
// A model that does not hold together gives *InvalidError with every problem; a folder that cannot be read gives that error.
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
		for _, folder := range []string{datasetsFolder, vaultFolder, martsFolder} {
			entries, err := fs.ReadDir(layer, folder)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", folder, err)
			}
			for _, entry := range entries {
				ext := path.Ext(entry.Name())
				if !entry.IsDir() && (ext == ".yml" || ext == ".yaml" || ext == ".sql" && folder == martsFolder) {
					owner[path.Join(folder, entry.Name())] = layer
				}
			}
		}
		if _, err := fs.Stat(layer, checksFile); err == nil {
			owner[checksFile] = layer
		}
	}
	return loadFiles(owner)
}

// parsedFiles gathers what the single files say.
type parsedFiles struct {
	datasets []parsedDataset
	vaults   []parsedVault
	marts    []parsedMart
	checks   []Check
	problems []Problem
}

func (p *parsedFiles) read(layer fs.FS, file string, text []byte) {
	var found []Problem
	switch folder, _, _ := strings.Cut(file, "/"); {
	case path.Ext(file) == ".sql": // is read with the file beside it
	case file == checksFile:
		p.checks, found = ParseChecks(file, text)
	case folder == vaultFolder:
		var v parsedVault
		v, found = parseVault(file, text)
		p.vaults = append(p.vaults, v)
	case folder == martsFolder:
		var m parsedMart
		m, found = parseMart(layer, file, text)
		p.marts = append(p.marts, m)
	default:
		var d parsedDataset
		d, found = parseDataset(file, text)
		p.datasets = append(p.datasets, d)
	}
	p.problems = append(p.problems, found...)
}

func loadFiles(owner map[string]fs.FS) (*Models, error) {
	files := make([]string, 0, len(owner))
	for file := range owner {
		files = append(files, file)
	}
	slices.Sort(files)
	digest := sha256.New()
	p := &parsedFiles{}
	for _, file := range files {
		text, err := fs.ReadFile(owner[file], file)
		if err != nil {
			return nil, fmt.Errorf("read model: %w", err)
		}
		fmt.Fprintf(digest, "%s %d\n%s", file, len(text), text)
		p.read(martLayer{owner}, file, text)
	}
	m := &Models{checks: p.checks, version: hex.EncodeToString(digest.Sum(nil)[:8])}
	problems := append(p.problems, checkTogether(p.datasets)...)
	for _, d := range p.datasets {
		m.datasets = append(m.datasets, d.Dataset)
	}
	for _, v := range p.vaults {
		m.vaults = append(m.vaults, v.Vault)
	}
	marts, unordered := orderMarts(p.marts, p.vaults)
	m.marts = marts
	problems = append(append(problems, checkVaults(p.vaults, m.datasets)...), unordered...)
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int {
			if a.File != b.File {
				return strings.Compare(a.File, b.File)
			}
			return a.Line - b.Line
		})
		return nil, &InvalidError{Problems: problems}
	}
	slices.SortFunc(m.datasets, func(a, b Dataset) int { return strings.Compare(a.Name, b.Name) })
	m.exported = slices.DeleteFunc(slices.Clone(m.datasets), func(d Dataset) bool { return d.Own })
	slices.SortFunc(m.vaults, func(a, b Vault) int { return strings.Compare(a.Dataset, b.Dataset) })
	return m, nil
}

// martLayer finds a file in the layer that owns it: the SQL of a mart may come from another one than its YAML.
type martLayer struct{ owner map[string]fs.FS }

func (l martLayer) Open(file string) (fs.File, error) {
	layer, ok := l.owner[file]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
	}
	return layer.Open(file)
}
