package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ofitec/ofitec/"

// source is one Go file of the workspace.
type source struct {
	path    string // from the root of the repository
	dir     string
	imports []string
	lines   int
	file    *ast.File
	set     *token.FileSet
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// sources parses every Go file of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var all []source
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && path != root || entry.Name() == "node_modules" || entry.Name() == "bin") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, content, 0)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		s := source{path: relative, dir: filepath.Dir(relative), lines: strings.Count(string(content), "\n"), file: file, set: set}
		for _, spec := range file.Imports {
			s.imports = append(s.imports, strings.Trim(spec.Path.Value, `"`))
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found %d Go files only: the walk is wrong", len(all))
	}
	return all
}

func isStandard(path string) bool { return !strings.Contains(strings.Split(path, "/")[0], ".") }

// serviceOf is the service that a folder or an import path belongs to; "" for none.
func serviceOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, module), "/")
	if len(parts) > 1 && parts[0] == "services" {
		return parts[1]
	}
	return ""
}

func TestNoServiceImportsAnotherAndNobodyImportsAService(t *testing.T) {
	for _, s := range sources(t) {
		for _, path := range s.imports {
			if owner := serviceOf(path); strings.HasPrefix(path, module) && owner != "" && owner != serviceOf(s.dir) {
				t.Errorf("%s imports %s: services are joined by events only", s.path, path)
			}
		}
	}
}

func TestModulesKnowOnlyWhatStandsBelowThem(t *testing.T) {
	allowed := map[string][]string{
		"events":        {"events"},
		"chassis":       {"events", "chassis"},
		"models":        {"events", "models"},
		"services":      {"events", "chassis", "models", "services"},
		"deploy":        {"deploy"},
		"deploy/local":  {"events", "chassis", "models", "deploy"},
		"deploy/ofitec": {"events", "chassis", "models", "deploy", "bench"},
		"bench":         {"events", "chassis", "models", "deploy", "bench"},
	}
	for _, s := range sources(t) {
		from := strings.Split(s.dir, "/")[0]
		for _, longer := range []string{"deploy/local", "deploy/ofitec"} {
			if s.dir == longer || strings.HasPrefix(s.dir, longer+"/") {
				from = longer
			}
		}
		for _, path := range s.imports {
			if s.isTest() || !strings.HasPrefix(path, module) {
				continue
			}
			to := strings.Split(strings.TrimPrefix(path, module), "/")[0]
			if !slices.Contains(allowed[from], to) {
				t.Errorf("%s imports %s: %s may import %v only", s.path, path, from, allowed[from])
			}
		}
	}
}

// sideEffects are standard packages that a decision has no use for.
var sideEffects = []string{"context", "database/sql", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "syscall", "time/tzdata"}

// clocks are the functions of package time that look at or wait for the present.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}

// isPure says that a package decides: it has a decide.go, or is named below.
func isPure(dir string, all []source) bool {
	if strings.HasSuffix(dir, "/internal/timing") {
		return true
	}
	return slices.ContainsFunc(all, func(s source) bool { return s.dir == dir && filepath.Base(s.path) == "decide.go" })
}

func TestADecisionIsPure(t *testing.T) {
	all := sources(t)
	pure := 0
	for _, s := range all {
		if s.isTest() || !isPure(s.dir, all) {
			continue
		}
		pure++
		for _, path := range s.imports {
			events := path == module+"events" || strings.HasPrefix(path, module+"events/state")
			if !isStandard(path) && !events || slices.Contains(sideEffects, path) {
				t.Errorf("%s imports %s: a decision takes its inputs as values, from the standard library and events", s.path, path)
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, ok := selector.X.(*ast.Ident)
			if ok && from.Name == "time" && slices.Contains(clocks, selector.Sel.Name) {
				t.Errorf("%s reads the clock (time.%s): now is a parameter", s.set.Position(selector.Pos()), selector.Sel.Name)
			}
			return true
		})
	}
	if pure == 0 {
		t.Error("found no package with a decide.go: the rule holds of nothing")
	}
}

func TestAnAdapterHasOneSDK(t *testing.T) {
	sdk := func(path string) string {
		parts := strings.Split(path, "/")
		return strings.Join(parts[:min(2, len(parts))], "/")
	}
	perDir := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() || serviceOf(s.dir) == "" || !strings.Contains(s.dir, "/internal/") {
			continue
		}
		for _, path := range s.imports {
			if isStandard(path) || strings.HasPrefix(path, module) || strings.HasPrefix(path, "golang.org/x/") {
				continue
			}
			if perDir[s.dir] == nil {
				perDir[s.dir] = map[string]bool{}
			}
			perDir[s.dir][sdk(path)] = true
		}
	}
	for dir, sdks := range perDir {
		if len(sdks) > 1 {
			t.Errorf("%s imports %v: an adapter is for one technology", dir, sdks)
		}
	}
}

func TestTheContractsNeedNoTransport(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir != "events" || s.isTest() {
			continue
		}
		for _, path := range s.imports {
			if strings.Contains(path, "nats") || path == "net" || path == "net/http" {
				t.Errorf("%s imports %s: package events is for anybody who reads or writes an event", s.path, path)
			}
		}
	}
}

func TestEveryServiceHasTheSameRooms(t *testing.T) {
	services, err := filepath.Glob("../../services/*")
	if err != nil || len(services) < 7 {
		t.Fatalf("found services %v, %v", services, err)
	}
	for _, service := range services {
		rooms := []string{"go.mod", "main.go", "config.go", "service.go", "service_test.go", "README.md"}
		if _, err := os.Stat(filepath.Join(service, "internal")); err == nil {
			rooms = append(rooms, "metrics.go") // wiring alone has the chassis's metrics only
		}
		for _, room := range rooms {
			content, err := os.ReadFile(filepath.Join(service, room))
			if err != nil {
				t.Errorf("%s has no %s", filepath.Base(service), room)
			}
			if room == "main.go" && strings.Count(string(content), "\n") >= 80 {
				t.Errorf("%s/main.go has 80 lines or more", filepath.Base(service))
			}
		}
	}
}

func TestNoFileHasGrownIntoTwoNouns(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() && s.lines > 400 {
			t.Errorf("%s has %d lines, more than 400", s.path, s.lines)
		}
	}
}

func TestNoFolderIsNamedAfterNothing(t *testing.T) {
	for _, s := range sources(t) {
		for _, part := range strings.Split(s.dir, "/") {
			if slices.Contains([]string{"pkg", "common", "util", "utils", "helpers", "manager", "misc"}, part) {
				t.Errorf("%s: a folder named %s says nothing", s.path, part)
			}
		}
	}
}

func TestTheWorkspaceListsEveryModuleAndThereIsNoneAtTheRoot(t *testing.T) {
	workspace, err := os.ReadFile("../../go.work")
	if err != nil {
		t.Fatal(err)
	}
	_ = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "go.mod" {
			dir := "./" + strings.TrimPrefix(filepath.Dir(path), "../../")
			if !strings.Contains(string(workspace), "\t"+dir+"\n") {
				t.Errorf("go.work does not list %s", dir)
			}
		}
		return nil
	})
	if _, err := os.Stat("../../go.mod"); err == nil {
		t.Error("there is a module at the root: a bare ./... would skip the others")
	}
}
