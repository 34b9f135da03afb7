package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// field is one leaf of a configuration struct that a variable can set.
type field struct {
	variable string // from the tag `env`
	path     string // where it stands in the YAML file, "" when it may not
	doc      string // from the tag `doc`
	value    reflect.Value
}

var (
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (f field) secret() bool { return f.value.Type() == secretType }

// fieldsOf lists the leaves of a pointer to a struct in the order in which they are declared.
func fieldsOf(target any) ([]field, error) {
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("read configuration into %T: want a pointer to a struct", target)
	}
	return walk(v.Elem(), "", true), nil
}

func walk(v reflect.Value, path string, inFile bool) []field {
	var fields []field
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		if !sf.IsExported() {
			continue
		}
		fieldPath, fieldInFile := yamlPath(sf, path, inFile)
		variable, _, _ := strings.Cut(sf.Tag.Get("env"), ",")
		switch {
		case variable != "":
			f := field{variable: variable, doc: sf.Tag.Get("doc"), value: v.Field(i)}
			if fieldInFile {
				f.path = fieldPath
			}
			fields = append(fields, f)
		case sf.Type.Kind() == reflect.Struct && !reflect.PointerTo(sf.Type).Implements(textType):
			fields = append(fields, walk(v.Field(i), fieldPath, fieldInFile)...)
		}
	}
	return fields
}

// yamlPath is the dotted path of a field in the file by the rules of the yaml package, and whether it may stand there.
func yamlPath(sf reflect.StructField, parent string, inFile bool) (string, bool) {
	name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
	if name == "-" {
		return "", false
	}
	if strings.Contains(options, "inline") {
		return parent, inFile
	}
	if name == "" {
		name = strings.ToLower(sf.Name)
	}
	if parent != "" {
		name = parent + "." + name
	}
	return name, inFile
}

// wanted says in words what a field of this type takes.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 500ms, 30s or 5m"
	case t.String() == "slog.Level":
		return "debug, info, warn or error"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a comma list"
	case reflect.Map:
		return "a comma list of key:value"
	default:
		return "text"
	}
}
