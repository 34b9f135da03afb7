package announce

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// taker counts announcements that are signed with the secret of now.
type taker struct {
	secret  string
	elected bool
	taken   chan string
}

func (k *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	at, sum, _ := strings.Cut(strings.TrimPrefix(r.Header.Get(header), "t="), ",v1=")
	mac := hmac.New(sha256.New, []byte(k.secret))
	mac.Write([]byte(at + "." + string(body)))
	switch {
	case sum != hex.EncodeToString(mac.Sum(nil)):
		w.WriteHeader(http.StatusUnauthorized)
	case !k.elected:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusAccepted)
		k.taken <- string(body)
	}
}

func TestManyChangesAreAnnouncedOnceAtTheOneThatTakesItWithTheSecretOfNow(t *testing.T) {
	t.Parallel()
	resting, reading := &taker{secret: "first", taken: make(chan string, 8)}, &taker{secret: "first", elected: true, taken: make(chan string, 8)}
	near, far := httptest.NewServer(resting), httptest.NewServer(reading)
	defer near.Close()
	defer far.Close()
	file := filepath.Join(t.TempDir(), "webhook-secret")
	a := &Announcer{URLs: []string{near.URL, far.URL}, SecretFile: file, Dataset: "invoice", Every: 20 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	if err := a.announce(t.Context(), time.Now()); err == nil {
		t.Error("it announces without a secret")
	}
	write := func(secret string) {
		if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("an earlier one")
	if err := a.announce(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("a signature that is refused gives %v", err)
	}
	for range 3 {
		a.Note()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { a.Run(ctx); close(ended) }()
	write("first") // it was refused until now: the secret is read for each announcement
	select {
	case body := <-reading.taken:
		if body != `{"dataset":"invoice"}` {
			t.Errorf("it announces %s", body)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is announced")
	}
	time.Sleep(5 * a.Every) // that nothing follows can only be waited for
	cancel()
	<-ended
	if more := len(reading.taken) + len(resting.taken); more != 0 {
		t.Errorf("%d announcements more, though nothing changed", more)
	}
}
