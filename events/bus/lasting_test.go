package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gone is a store that cannot be read.
type gone struct{ asked int }

func (g *gone) Pending(context.Context) ([]Entry, error) {
	g.asked++
	return nil, errors.New("no store")
}
func (g *gone) Done(context.Context, Entry) error { return nil }

func TestAnOutboxThatWaitsSaysSoOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		store := &gone{}
		ctx, cancel := context.WithTimeout(t.Context(), 130*time.Second)
		defer cancel()
		if err := NewOutbox(store, NewMemory(), slog.New(slog.NewTextHandler(&out, nil)), nil).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if said := strings.Count(out.String(), "outbox waits"); said != 3 || store.asked < 20 {
			t.Errorf("told %d times of %d failures in 130 s, want 3:\n%s", said, store.asked, out.String())
		}
	})
}

func TestWhatEndsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := lasting{log: slog.New(slog.NewTextHandler(&out, nil)), what: "consumer waits"}
		l.note(t.Context(), nil)
		l.note(t.Context(), errors.New("away"))
		time.Sleep(5 * time.Second)
		l.note(t.Context(), nil, "stream", "FACTS")
		l.note(t.Context(), nil)
		if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `msg="over: consumer waits" lasted=5s stream=FACTS`) {
			t.Errorf("the log:\n%s", got)
		}
	})
}
