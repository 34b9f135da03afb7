package events

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Problem is one thing that is wrong with a document: the field, the value that it has, and what would be right.
type Problem struct {
	Field string
	Value any
	Want  string
}

// String is the problem as a sentence.
func (p Problem) String() string {
	return fmt.Sprintf("%s is %s, want %s", p.Field, show(p.Value), p.Want)
}

// InvalidError says everything that is wrong with a payload or a document of the state, not only the first thing.
type InvalidError struct {
	Document string // the type of the event, or the kind of the document
	Problems []Problem
}

// Error lists all problems in one line.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		lines[i] = problem.String()
	}
	return e.Document + ": " + strings.Join(lines, "; ")
}

// Check collects the problems of one document. Its zero value is ready; it is for one goroutine. What is right costs no allocation: every observation is checked.
type Check struct {
	problems []Problem
}

// That notes a problem with a field unless ok.
func (c *Check) That(ok bool, field string, value any, want string) {
	if !ok {
		c.problems = append(c.problems, Problem{Field: field, Value: value, Want: want})
	}
}

// Part notes all problems of a part of the document under the part's own name.
func (c *Check) Part(field string, problems []Problem) {
	for _, problem := range problems {
		problem.Field = field + "." + problem.Field
		c.problems = append(c.problems, problem)
	}
}

// Problems are the problems noted so far.
func (c *Check) Problems() []Problem { return c.problems }

// Err is nil or an *InvalidError with all problems.
func (c *Check) Err(document string) error {
	if len(c.problems) == 0 {
		return nil
	}
	return &InvalidError{Document: document, Problems: c.problems}
}

// Region requires one of the three regions.
func (c *Check) Region(field string, region Region) {
	if !region.Valid() {
		c.That(false, field, region, "one of a, b, c")
	}
}

// DataRegion requires a region that holds data.
func (c *Check) DataRegion(field string, region Region) {
	if !region.HoldsData() {
		c.That(false, field, region, "one of a, b")
	}
}

// Token requires a text that may be one token of a NATS subject and of an etcd key.
func (c *Check) Token(field, text string) {
	if !IsToken(text) {
		c.That(false, field, text, "1 to 128 letters, digits, '-' or '_'")
	}
}

// Text requires a text that is not blank and at most limit bytes long.
func (c *Check) Text(field, text string, limit int) {
	if strings.TrimSpace(text) == "" || len(text) > limit {
		c.That(false, field, text, fmt.Sprintf("a text of 1 to %d bytes", limit))
	}
}

// Time requires a time that is set.
func (c *Check) Time(field string, at time.Time) {
	if at.IsZero() {
		c.That(false, field, at, "a time that is set")
	}
}

// Epoch requires an epoch of 1 or more.
func (c *Check) Epoch(field string, epoch Epoch) {
	if epoch == 0 {
		c.That(false, field, uint64(epoch), "1 or more")
	}
}

// Order requires a time that is not before another one.
func (c *Check) Order(field string, at time.Time, before string, earlier time.Time) {
	if at.Before(earlier) {
		c.That(false, field, at, "not before "+before+" ("+earlier.Format(time.RFC3339Nano)+")")
	}
}

// NotNegative requires a number of zero or more.
func NotNegative[N int | int64 | float64](c *Check, field string, number N) {
	if number < 0 || number != number { // NaN is not even itself
		c.That(false, field, number, "0 or more")
	}
}

// AtLeastOne requires a number of one or more.
func AtLeastOne[N int | int64](c *Check, field string, number N) {
	if number < 1 {
		c.That(false, field, number, "1 or more")
	}
}

// OneOf requires one of the listed values.
func OneOf[T ~string](c *Check, field string, value T, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	names := make([]string, len(allowed))
	for i, name := range allowed {
		names[i] = string(name)
	}
	c.That(false, field, value, "one of "+strings.Join(names, ", "))
}

// IsToken says whether a text may be one token of a NATS subject: it has no dot, blank or wildcard.
func IsToken(text string) bool {
	if len(text) == 0 || len(text) > 128 {
		return false
	}
	for i := range len(text) {
		b := text[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '-' && b != '_' {
			return false
		}
	}
	return true
}

var sha256Text = regexp.MustCompile(`^[0-9a-f]{64}$`)

// SHA256 requires 64 lower-case hexadecimal digits.
func (c *Check) SHA256(field, text string) {
	c.That(sha256Text.MatchString(text), field, text, "64 lower-case hexadecimal digits")
}

func show(value any) string {
	switch v := value.(type) {
	case time.Time:
		if v.IsZero() {
			return "not set"
		}
		return v.Format(time.RFC3339Nano)
	case fmt.Stringer:
		return v.String()
	}
	if v := reflect.ValueOf(value); v.Kind() == reflect.String {
		return quote(v.String())
	}
	return fmt.Sprint(value)
}

func quote(text string) string {
	const limit = 80
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return fmt.Sprintf("%q", text)
}
