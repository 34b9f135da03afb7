package config

import (
	"log/slog"
	"reflect"
	"strings"
)

// Alias is a variable's name in an earlier delivery, still accepted.
type Alias struct {
	Old string // the earlier name
	New string // the name of today
}

// withAliases takes the value of a field's old name when the new one is not set, and says which name that was; "" when it was none. Both
// set and different is a problem, because nobody can know which one was meant.
func withAliases(f field, value string, aliases []Alias) (taken, old string, err error) {
	from := f.variable
	var used string
	for _, alias := range aliases {
		if alias.New != f.variable {
			continue
		}
		old, err := valueOf(field{variable: alias.Old, value: f.value})
		if err != nil {
			return "", "", err
		}
		if old == "" {
			continue
		}
		if value != "" && value != old {
			return "", "", &Problem{Variable: alias.Old, Value: shown(f, old), Want: "only one of " + alias.Old + " and " + from + ", or the same in both"}
		}
		slog.Info("configuration by a name of the earlier delivery", "variable", alias.Old, "name_of_today", alias.New)
		if value == "" {
			used = alias.Old
		}
		value, from = old, alias.Old
	}
	return value, used, nil
}

// contradiction is a problem when an old name has just replaced a different value of the YAML file: for an old name the file is one more
// place where the same thing stands, while the name of today outranks it.
func contradiction(f field, old, value string, before any, file map[string]any) error {
	if old == "" || !inFile(file, f.path) || reflect.DeepEqual(before, f.value.Interface()) {
		return nil
	}
	return &Problem{Variable: old, Value: shown(f, value), Want: "only one of " + old + " and " + f.path + " in the file of " + FileVariable + ", or the same in both"}
}

// inFile says whether the file sets a field.
func inFile(file map[string]any, path string) bool {
	if path == "" {
		return false
	}
	parent, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		return file[parent] != nil
	}
	inner, _ := file[parent].(map[string]any)
	return inFile(inner, rest)
}
