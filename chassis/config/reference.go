package config

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
)

// Reference is the configuration of target as a Markdown table: variable, place in the YAML file, what it takes, default, meaning.
// The defaults are those that stand in target. It panics when target is not a pointer to a struct.
func Reference(target any, aliases ...Alias) string {
	fields, err := fieldsOf(target)
	if err != nil {
		panic(err)
	}
	var b strings.Builder
	b.WriteString("| variable | in the YAML file | takes | default | meaning |\n|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| `%s` | | text | | path of the YAML file; the environment outranks it |\n", FileVariable)
	for _, f := range fields {
		names := code(f.variable)
		if f.secret() {
			names += " or " + code(f.variable+"_FILE")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", names, code(f.path), wanted(f.value.Type()), code(defaultOf(f)), cell(f.doc))
	}
	for _, alias := range aliases {
		known := func(f field) bool { return f.variable == alias.New }
		if slices.ContainsFunc(fields, known) {
			fmt.Fprintf(&b, "| `%s` | | | | earlier name of `%s` |\n", alias.Old, alias.New)
		}
	}
	return b.String()
}

func defaultOf(f field) string {
	if f.value.IsZero() && f.value.Type() != reflect.TypeFor[slog.Level]() {
		return ""
	}
	if f.value.Kind() == reflect.Slice {
		var parts []string
		for i := range f.value.Len() {
			parts = append(parts, fmt.Sprint(f.value.Index(i).Interface()))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(f.value.Interface())
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + cell(s) + "`"
}

// cell keeps a text from ending the table's cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
