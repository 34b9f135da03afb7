// Package seal encrypts raw files with age (filippo.io/age): what lies in the store is of no use without a key, and the age command can open it with one.
package seal

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Keys are a ring: the first one encrypts, all of them decrypt. A key is replaced by putting a new one before it; the old one stays as long as there are files that only it
// opens. It is safe for concurrent use.
type Keys struct {
	recipient  age.Recipient
	identities []age.Identity
}

// Parse reads a ring as age-keygen writes it: a secret key a line, lines that begin with # are left out. The error never repeats what was read.
func Parse(text string) (*Keys, error) {
	identities, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("read keys: not secret keys of age, one a line, as age-keygen makes them")
	}
	first, ok := identities[0].(*age.X25519Identity)
	if !ok {
		return nil, errors.New("read keys: the first one is not an X25519 key, as age-keygen makes it")
	}
	return &Keys{recipient: first.Recipient(), identities: identities}, nil
}

// Seal encrypts what is written. Close ends the stream; without it the file cannot be opened as a whole.
func (k *Keys) Seal(to io.Writer) (io.WriteCloser, error) {
	w, err := age.Encrypt(to, k.recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt raw file: %w", err)
	}
	return w, nil
}

// Open decrypts. A file that was changed or cut off gives an error while it is read, before the bytes that are wrong.
func (k *Keys) Open(from io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(from, k.identities...)
	var foreign *age.NoIdentityMatchError
	if errors.As(err, &foreign) {
		return nil, fmt.Errorf("decrypt raw file: none of the %d keys opens it: the key that it was encrypted with is missing from the ring", len(k.identities))
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt raw file: %w", err)
	}
	return plain, nil
}
