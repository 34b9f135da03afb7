package dns

import (
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
)

// Key signs requests (TSIG). Its secret goes to no log.
type Key struct {
	name, algorithm, secret string
}

// String names the key without its secret.
func (k Key) String() string { return k.name + " (" + k.algorithm + ")" }

var (
	keyStart     = regexp.MustCompile(`key\s+"?([A-Za-z0-9._-]+)"?\s*\{`)
	keyAlgorithm = regexp.MustCompile(`algorithm\s+"?(hmac-sha(?:256|384|512))"?\s*;`)
	keySecret    = regexp.MustCompile(`secret\s+"([^"]+)"\s*;`)
)

// ReadKey reads the one key of a file in BIND's syntax, as nsupdate -k does.
func ReadKey(path string) (Key, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("read TSIG key: %w", err)
	}
	wrong := func(want string) (Key, error) {
		return Key{}, fmt.Errorf("read TSIG key %s: must hold %s", path, want)
	}
	names, algorithm, secret := keyStart.FindAllSubmatch(content, -1), keyAlgorithm.FindSubmatch(content), keySecret.FindSubmatch(content)
	if len(names) != 1 {
		return wrong(fmt.Sprintf("one key %q, not %d", `key "name" { ... };`, len(names)))
	}
	if algorithm == nil {
		return wrong("algorithm hmac-sha256, hmac-sha384 or hmac-sha512")
	}
	if secret == nil {
		return wrong("a secret")
	}
	if raw, err := base64.StdEncoding.DecodeString(string(secret[1])); err != nil || len(raw) < 16 {
		return wrong("a secret that is base64 of 16 bytes or more")
	}
	return Key{name: string(names[0][1]), algorithm: string(algorithm[1]), secret: string(secret[1])}, nil
}
