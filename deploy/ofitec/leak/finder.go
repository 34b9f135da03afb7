// Package leak looks for known secrets in places where none may be. It knows the secrets by name and never tells one.
package leak

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// minSecret is the shortest secret that is looked for: shorter ones, such as names of users, stand everywhere by right.
const minSecret = 16

// prefix is how many bytes of a form tell whether it may begin here.
const prefix = 8

// Finder finds secrets as they are and as programs write them: in URLs, JSON, hexadecimal and base64, alone or in the middle of something longer. It finds their hashes
// too, when they are made without a key.
type Finder struct {
	may   [1 << 16]bool // of the first four bytes of any form
	forms map[uint64][]form
	count int
}

// marks are how secrets begin that nobody has told us of: the tokens that services get from Vault, and keys.
var marks = map[string]string{
	"hvs.CAES":                      "a token of Vault",
	"hvb.AAAA":                      "a batch token of Vault",
	"-----BEGIN PRIVATE KEY-----":   "a private key",
	"-----BEGIN EC PRIVATE KEY":     "a private key",
	"-----BEGIN RSA PRIVATE KEY":    "a private key",
	"-----BEGIN USER NKEY SEED----": "a seed of NATS",
}

type form struct {
	secret string
	text   []byte
}

// NewFinder makes a finder for secrets by their names. It leaves out what is too short to be one.
func NewFinder(secrets map[string][]byte) *Finder {
	f := &Finder{forms: map[uint64][]form{}}
	for begin, name := range marks {
		f.add(name, []byte(begin))
	}
	for name, secret := range secrets {
		if len(secret) < minSecret {
			continue
		}
		f.count++
		for _, text := range formsOf(secret) {
			f.add(name, text)
		}
		for _, text := range digestsOf(secret) {
			f.add(name+" (a hash without a key)", text)
		}
	}
	return f
}

func (f *Finder) add(name string, text []byte) {
	f.may[hash(text)] = true
	key := binary.LittleEndian.Uint64(text)
	f.forms[key] = append(f.forms[key], form{name, text})
}

// Secrets is how many secrets are looked for.
func (f *Finder) Secrets() int { return f.count }

// In names the secrets that stand in a text, each once.
func (f *Finder) In(text []byte) []string {
	var found []string
	for at := 0; at+prefix <= len(text); at++ {
		if !f.may[hash(text[at:])] {
			continue
		}
		for _, form := range f.forms[binary.LittleEndian.Uint64(text[at:])] {
			if bytes.HasPrefix(text[at:], form.text) && !slices.Contains(found, form.secret) {
				found = append(found, form.secret)
			}
		}
	}
	slices.Sort(found)
	return found
}

func hash(text []byte) uint16 {
	return uint16(binary.LittleEndian.Uint32(text) * 2654435761 >> 16)
}

// formsOf are the ways in which a secret may be written.
func formsOf(secret []byte) [][]byte {
	text := string(secret)
	quoted, _ := json.Marshal(text) // fails for no string
	all := []string{text, url.QueryEscape(text), url.PathEscape(text), strings.Trim(string(quoted), `"`), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret))}
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // in a longer text, such as user:password, it begins at any of three places of a group
			all = append(all, inner(encoding, secret, shift))
		}
	}
	slices.Sort(all)
	forms := [][]byte{}
	for _, text := range slices.Compact(all) {
		if len(text) >= prefix {
			forms = append(forms, []byte(text))
		}
	}
	return forms
}

// digestsOf are what anybody can make of a secret that he guesses: fingerprints are made with a key that stays in Vault, so that nobody can.
func digestsOf(secret []byte) [][]byte {
	var forms [][]byte
	long, short, old := sha512.Sum512(secret), sha256.Sum256(secret), md5.Sum(secret)
	for _, sum := range [][]byte{long[:], short[:], old[:]} {
		forms = append(forms, []byte(hex.EncodeToString(sum)), []byte(base64.RawStdEncoding.EncodeToString(sum)), []byte(base64.RawURLEncoding.EncodeToString(sum)))
	}
	return forms
}

// inner is what base64 makes of a secret that begins shift bytes after a group: the characters that depend on nothing but the secret.
func inner(encoding *base64.Encoding, secret []byte, shift int) string {
	encoded := encoding.EncodeToString(append(make([]byte, shift), secret...))
	begin := (shift*8 + 5) / 6
	end := (shift + len(secret)) * 8 / 6
	return encoded[begin:end]
}
