// Package announce tells etl-ingest that there is something to export, as an automated action of Odoo's would: signed with a secret that is replaced from time to
// time, so that nobody waits for the next scheduled pull. What is not announced is pulled by schedule.
package announce

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// header carries the signature.
const header = "X-Ofitec-Signature"

// patience bounds one announcement; retry is the pause after one that nobody took.
const (
	patience = 5 * time.Second
	retry    = 5 * time.Second
)

// errNotYet says that the secret has not been brought here yet.
var errNotYet = errors.New("the secret is not there yet")

// Announcer tells of one dataset. Note may be called from anywhere, Run once.
type Announcer struct {
	URLs       []string // the nearest first: the other regions' do not take announcements, or are away
	SecretFile string   // read anew for each announcement: whoever keeps it there replaces it
	Dataset    string
	Every      time.Duration
	Log        *slog.Logger

	due atomic.Bool
}

// Note says that the dataset has changed.
func (a *Announcer) Note() { a.due.Store(true) }

// Run announces what was noted, once for many changes, until ctx ends.
func (a *Announcer) Run(ctx context.Context) {
	failing := false
	for pause := a.Every; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = a.Every
		if !a.due.Swap(false) {
			continue
		}
		err := a.announce(ctx, time.Now())
		if err != nil {
			a.due.Store(true)
			pause = min(retry, a.Every)
		}
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			a.Log.Info("announcements", "failing", failing, "reason", fmt.Sprint(err))
		}
	}
}

// announce asks one after the other until one takes it.
func (a *Announcer) announce(ctx context.Context, now time.Time) error {
	secret, err := os.ReadFile(a.SecretFile)
	if errors.Is(err, fs.ErrNotExist) {
		return errNotYet
	}
	if err != nil {
		return fmt.Errorf("read the secret of announcements: %w", err)
	}
	body := fmt.Sprintf(`{"dataset":%q}`, a.Dataset)
	signature := sign(body, strings.TrimSpace(string(secret)), now)
	var problems []error
	for _, url := range a.URLs {
		err := post(ctx, url, body, signature)
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func sign(body, secret string, now time.Time) string {
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "." + body))
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

func post(ctx context.Context, url, body, signature string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("announce at %s: %w", url, err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(header, signature)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("announce: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16)) // so that the connection is used again
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("announce at %s: %s", url, response.Status)
	}
	return nil
}
