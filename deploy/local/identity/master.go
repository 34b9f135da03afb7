package identity

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Master reads the operator's copy of a secret that Ensure has made: "postgres-<role>", "token-key", "raw-key", "export-token", "minio-root-user",
// "minio-root-password", "s3-secret-key-<region>", ArchiveSecret, ArchivePassphrase.
func Master(l layout.Layout, name string) ([]byte, error) {
	path := filepath.Join(l.OperatorDir(), "secrets", name)
	content, found, err := read(path)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("read secret %s: %w", path, fs.ErrNotExist)
	}
	return content, nil
}

// ReadFile reads a file of an identity folder; it is empty when there is none.
func ReadFile(path string) ([]byte, error) {
	content, _, err := read(path)
	return content, err
}
