package identity

import (
	"fmt"
	"strings"

	"filippo.io/age"
)

// freshRawKey makes the key that raw files are encrypted with, as age-keygen writes it. etl-ingest has it too, not its public half alone: it reads again what it has kept, to know what was deleted.
func freshRawKey() ([]byte, error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fmt.Errorf("make key of raw files: %w", err)
	}
	return []byte(key.String() + "\n"), nil
}

// isRawKey takes a ring of several keys as well: a new one is put before the old ones, which open what they have encrypted.
func isRawKey(content []byte) bool {
	keys, err := age.ParseIdentities(strings.NewReader(string(content)))
	return err == nil && len(keys) > 0 && strings.HasSuffix(string(content), "\n")
}
