package config

import (
	"errors"
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration. Want says what would be right.
// Value is empty when the variable is not set; for a Secret it must stay empty or be a stand-in.
type Problem struct {
	Variable string
	Value    string
	Want     string
}

// Error is one line: the variable, its value and what would be right.
func (p *Problem) Error() string {
	if p.Value == "" {
		return fmt.Sprintf("%s is not set: want %s", p.Variable, p.Want)
	}
	return fmt.Sprintf("%s=%q: want %s", p.Variable, p.Value, p.Want)
}

// Require gives a Problem when the value is empty, else nothing. It is for Problems methods: append(problems, Require(...)...).
func Require(variable, value, want string) []error {
	if value != "" {
		return nil
	}
	return []error{&Problem{Variable: variable, Want: want}}
}

// Error holds all problems of a configuration; a process that gets one exits with status 2.
type Error struct{ Problems []error }

// Error is all problems, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As reach each problem.
func (e *Error) Unwrap() []error { return e.Problems }

// validator is a configuration that knows what is wrong with itself, all of it.
type validator interface{ Problems() []error }

// validate asks the target for its problems and leaves out those of variables that are already reported.
func validate(target any, reported []error) []error {
	v, ok := target.(validator)
	if !ok {
		return reported
	}
	known := map[string]bool{}
	for _, err := range reported {
		var p *Problem
		if errors.As(err, &p) {
			known[p.Variable] = true
		}
	}
	for _, err := range v.Problems() {
		var p *Problem
		if errors.As(err, &p) && known[p.Variable] {
			continue
		}
		reported = append(reported, err)
	}
	return reported
}
