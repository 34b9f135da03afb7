// Package seal opens raw files that etl-ingest has encrypted with age (filippo.io/age), and encrypts the closings that etl-transform adds.
package seal

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Keys are a ring of secret keys; any of them opens a file. It is safe for concurrent use.
type Keys struct{ identities []age.Identity }

// Parse reads a ring as age-keygen writes it: a secret key a line, lines that begin with # are left out. The error never repeats what was read.
func Parse(text string) (*Keys, error) {
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("read keys: not secret keys of age, one a line, as age-keygen makes them")
	}
	return &Keys{identities}, nil
}

// Open gives the plain bytes. A file that was changed or cut off gives an error while it is read. Without the right key the error wraps ErrNoKey.
func (k *Keys) Open(from io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(from, k.identities...)
	var foreign *age.NoIdentityMatchError
	if errors.As(err, &foreign) {
		return nil, fmt.Errorf("%w: none of the %d keys in OFITEC_RAW_KEY_FILE opens it", ErrNoKey, len(k.identities))
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	return plain, nil
}

// Seal encrypts what is written with the first key, as etl-ingest does. Close ends the stream; without it the file cannot be opened as a whole.
func (k *Keys) Seal(to io.Writer) (io.WriteCloser, error) {
	first, ok := k.identities[0].(*age.X25519Identity)
	if !ok {
		return nil, errors.New("encrypt raw file: the first key is not an X25519 key, as age-keygen makes it")
	}
	w, err := age.Encrypt(to, first.Recipient())
	if err != nil {
		return nil, fmt.Errorf("encrypt raw file: %w", err)
	}
	return w, nil
}

// ErrNoKey says that the file is sound for all that is known, and its key is missing.
var ErrNoKey = errors.New("the key of the file is missing")
