// Package config reads a service's configuration: the defaults that already stand in the struct, then one strict YAML file,
// then the environment. All problems are found in one pass and reported together.
//
// A field takes part by its tags: `env:"NAME"` names its variable, `yaml:"name"` its place in the file ("-" keeps it out of the file,
// as secrets should be), `doc:"..."` its line in the generated reference. A field of type Secret may also be given as NAME_FILE, the path
// of a file that holds it. An empty variable counts as not set.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/caarlos0/env/v11"
	"gopkg.in/yaml.v3"
)

// FileVariable names the variable that holds the path of the YAML file.
const FileVariable = "OFITEC_CONFIG"

// Load fills target, a pointer to a struct that already holds the defaults. If target has a method Problems() []error, what it reports is
// part of the result. The error is a *Error, and then target is half filled and must not be used. Aliases of variables that
// target does not have are ignored, so that one table of old names serves all services. It logs a note for each alias that is used.
func Load(target any, aliases ...Alias) error {
	fields, err := fieldsOf(target)
	if err != nil {
		return err
	}
	file, problems := readFile(target)
	environment, olds, wrong := gather(fields, aliases)
	problems = append(problems, wrong...)
	for _, f := range fields {
		value := environment[f.variable]
		if value == "" {
			continue
		}
		one, before := env.Options{Environment: map[string]string{f.variable: value}}, f.value.Interface()
		if err := env.ParseWithOptions(target, one); err != nil {
			problems = append(problems, &Problem{Variable: f.variable, Value: shown(f, value), Want: wanted(f.value.Type())})
		} else if err := contradiction(f, olds[f.variable], value, before, file); err != nil {
			problems = append(problems, err)
		}
	}
	problems = validate(target, problems)
	if len(problems) > 0 {
		return &Error{Problems: problems}
	}
	return nil
}

// shown is the value as an error may show it.
func shown(f field, value string) string {
	if f.secret() {
		return redacted
	}
	return value
}

// gather reads the variables of the fields, their NAME_FILE forms and their old names; olds are the old names whose value was taken.
func gather(fields []field, aliases []Alias) (environment, olds map[string]string, problems []error) {
	environment, olds = map[string]string{}, map[string]string{}
	for _, f := range fields {
		value, err := valueOf(f)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		value, old, err := withAliases(f, value, aliases)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		environment[f.variable], olds[f.variable] = value, old
	}
	return environment, olds, problems
}

// valueOf is the variable's value, for a Secret perhaps from the file that NAME_FILE names.
func valueOf(f field) (string, error) {
	value := os.Getenv(f.variable)
	if !f.secret() {
		return value, nil
	}
	fileVariable := f.variable + "_FILE"
	path := os.Getenv(fileVariable)
	switch {
	case path == "":
		return value, nil
	case value != "":
		return "", &Problem{Variable: fileVariable, Value: path, Want: "only one of " + f.variable + " and " + fileVariable}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", &Problem{Variable: fileVariable, Value: path, Want: "a readable file: " + reason(err)}
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", &Problem{Variable: fileVariable, Value: path, Want: "a file that is not empty"}
	}
	return secret, nil
}

// reason is the cause of a file error without the path, which the message has already.
func reason(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// readFile decodes the YAML file, if one is named, over the defaults; every unknown field and every wrong type is a problem.
// The map is the file as it stands, for what needs to know whether the file sets a field.
func readFile(target any) (map[string]any, []error) {
	path := os.Getenv(FileVariable)
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{&Problem{Variable: FileVariable, Value: path, Want: "a readable YAML file: " + reason(err)}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	err = decoder.Decode(target)
	if errors.Is(err, io.EOF) {
		return nil, nil // a file of comments only
	}
	if err == nil && !errors.Is(decoder.Decode(new(yaml.Node)), io.EOF) {
		err = errors.New("the file holds more than one document, want one")
	}
	var file map[string]any
	_ = yaml.Unmarshal(content, &file) // what is wrong with it is in err
	return file, fileProblems(path, err)
}

var unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type \S+$`)

func fileProblems(path string, err error) []error {
	if err == nil {
		return nil
	}
	var types *yaml.TypeError
	if !errors.As(err, &types) {
		return []error{fmt.Errorf("%s=%q: %s", FileVariable, path, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	var problems []error
	for _, line := range types.Errors {
		if m := unknownField.FindStringSubmatch(line); m != nil {
			line = fmt.Sprintf("line %s: unknown field %q, the subcommand config-reference lists the known ones", m[1], m[2])
		}
		problems = append(problems, fmt.Errorf("%s=%q: %s", FileVariable, path, line))
	}
	return problems
}
