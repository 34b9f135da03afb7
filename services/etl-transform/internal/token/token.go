// Package token turns personal data into tokens: deterministic, so that they can be joined, and reversible with the key alone.
package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"

	"github.com/ofitec/ofitec/models"
)

// LeastKey is how many bytes a key file has at least.
const LeastKey = 32

// Sealer makes tokens with one key. It is safe for concurrent use.
type Sealer struct {
	version string
	ciphers map[models.PII]*subtle.AESSIV
}

// OpenFile reads the key from a file. The key's version, a digest of it, may be told to anybody.
func OpenFile(path string) (*Sealer, error) {
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read token key: %w", err)
	}
	s, err := New(key)
	if err != nil {
		return nil, fmt.Errorf("read token key %s: %w", path, err)
	}
	return s, nil
}

// New derives a key for each kind of personal data, so that a telephone number that looks like a tax number does not share its token.
func New(key []byte) (*Sealer, error) {
	if len(key) < LeastKey {
		return nil, fmt.Errorf("it has %d bytes, want %d or more", len(key), LeastKey)
	}
	s := &Sealer{ciphers: map[models.PII]*subtle.AESSIV{}}
	for _, kind := range []models.PII{models.RUT, models.Email, models.Phone} {
		derived, err := hkdf.Key(sha256.New, key, nil, "ofitec token v1 "+string(kind), subtle.AESSIVKeySize)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		if s.ciphers[kind], err = subtle.NewAESSIV(derived); err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
	}
	fingerprint, err := hkdf.Key(sha256.New, key, nil, "ofitec token key version", 8)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	s.version = hex.EncodeToString(fingerprint)
	return s, nil
}

// Version names the key without telling it: tokens of two versions cannot be joined.
func (s *Sealer) Version() string { return s.version }

// Token is the token of a value, which is normalised first; "" for a value that is empty then.
func (s *Sealer) Token(kind models.PII, value string) (string, error) {
	normal := Normal(kind, value)
	if normal == "" {
		return "", nil
	}
	sealed, err := s.ciphers[kind].EncryptDeterministically([]byte(normal), []byte(kind))
	if err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	return prefix(kind, normal) + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// wrongRUT begins the tokens of tax numbers whose check digit is wrong: they can be counted without a key.
const wrongRUT = "rutx_"

func prefix(kind models.PII, normal string) string {
	if kind == models.RUT && !ValidRUT(normal) {
		return wrongRUT
	}
	return string(kind) + "_"
}

// Reveal is the normalised value behind a token.
func (s *Sealer) Reveal(kind models.PII, token string) (string, error) {
	rest, found := strings.CutPrefix(token, string(kind)+"_")
	if !found && kind == models.RUT {
		rest, found = strings.CutPrefix(token, wrongRUT)
	}
	if !found || rest == "" {
		return "", fmt.Errorf("reveal token: it is not one of kind %s", kind)
	}
	sealed, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return "", fmt.Errorf("reveal token: %w", err)
	}
	value, err := s.ciphers[kind].DecryptDeterministically(sealed, []byte(kind))
	if err != nil {
		return "", fmt.Errorf("reveal token: it was not made with this key")
	}
	return string(value), nil
}
