package config

import (
	"encoding/json"
	"log/slog"
)

const redacted = "(secret)"

// Secret is text that must never be printed. Every usual way of writing it out gives "(secret)"; Reveal gives the text itself.
// The zero value is "no secret" and is written as the empty string, so that a missing secret can be told from a present one.
type Secret string

// Reveal gives the secret for use. Callers pass it on at once and keep it out of errors.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret from fmt.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON hides the secret from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML hides the secret from YAML.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }
