package page

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	cookieName  = "ofitec_console"
	sessionLife = 12 * time.Hour
	maxSessions = 32
	lookEvery   = 500 * time.Millisecond
)

// Door lets in whoever brings the one-time link. The link stands in a file that only the operator can read, and is replaced as soon as it is used, or when the
// operator removes the file to have another one. It is never logged. Sessions live in memory: they end with the process.
type Door struct {
	file string // holds the whole link
	base string // http://127.0.0.1:8080
	now  func() time.Time
	log  *slog.Logger

	mu       sync.Mutex
	token    [32]byte // SHA-256 of the token that opens; zero: none does
	sessions map[[32]byte]session
}

type session struct {
	id      string // tells acts of one session from those of another; opens nothing
	csrf    string
	expires time.Time
}

// NewDoor makes a door that is closed until Keep runs.
func NewDoor(file, base string, now func() time.Time, log *slog.Logger) *Door {
	return &Door{file: file, base: base, now: now, log: log, sessions: map[[32]byte]session{}}
}

// Keep writes the link and makes another one whenever the file is gone; it removes the file at the end.
func (d *Door) Keep(ctx context.Context) error {
	if err := d.renew(); err != nil {
		return err
	}
	defer func() { _ = os.Remove(d.file) }() // it opens nothing any more
	d.log.Info("the page's one-time link is in a file", "path", d.file)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if _, err := os.Lstat(d.file); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := d.renew(); err != nil {
			d.log.Warn("cannot write the page's link", "error", err)
		}
	}
}

// renew makes another link; the one before opens nothing any more.
func (d *Door) renew() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.renewLocked()
}

func (d *Door) renewLocked() error {
	token := secret()
	d.token = [32]byte{}
	if err := writePrivate(d.file, d.base+"/enter?token="+token+"\n"); err != nil {
		return err
	}
	d.token = sha256.Sum256([]byte(token))
	return nil
}

// writePrivate replaces a file at once, so that nobody reads half of it.
func writePrivate(path, content string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".link-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the page's link: %w", err)
	}
	_, err = temporary.WriteString(content)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("write the page's link: %w", err)
	}
	return nil
}

// secret is 256 bits of chance.
func secret() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// enter takes the token and makes a session of it: the value of its cookie, or "" when the token opens nothing.
func (d *Door) enter(token string) (cookie string) {
	hash := sha256.Sum256([]byte(token))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.token == [32]byte{} || subtle.ConstantTimeCompare(hash[:], d.token[:]) != 1 {
		return ""
	}
	if err := d.renewLocked(); err != nil {
		d.log.Warn("cannot renew the page's link", "error", err) // the used one is void all the same
	}
	d.sweep()
	cookie = secret()
	key := sha256.Sum256([]byte(cookie))
	d.sessions[key] = session{id: hex.EncodeToString(key[:4]), csrf: secret(), expires: d.now().Add(sessionLife)}
	return cookie
}

// sweep makes room: what has ended goes, and of too many the one that ends first.
func (d *Door) sweep() {
	for len(d.sessions) > 0 {
		var oldest [32]byte
		first := time.Time{}
		for key, s := range d.sessions {
			if first.IsZero() || s.expires.Before(first) {
				oldest, first = key, s.expires
			}
		}
		if d.now().Before(first) && len(d.sessions) < maxSessions {
			return
		}
		delete(d.sessions, oldest)
	}
}

// visitor is the session of a request.
func (d *Door) visitor(r *http.Request) (session, bool) {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, known := d.sessions[sha256.Sum256([]byte(cookie.Value))]
	return s, known && d.now().Before(s.expires)
}

// leave ends the session of a request.
func (d *Door) leave(r *http.Request) {
	if cookie, err := r.Cookie(cookieName); err == nil {
		d.mu.Lock()
		delete(d.sessions, sha256.Sum256([]byte(cookie.Value)))
		d.mu.Unlock()
	}
}

// Sessions counts those that are open.
func (d *Door) Sessions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	open := 0
	for _, s := range d.sessions {
		if d.now().Before(s.expires) {
			open++
		}
	}
	return open
}
