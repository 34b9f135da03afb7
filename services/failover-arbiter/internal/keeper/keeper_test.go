package keeper

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// away is an etcd that never answers.
type away struct{}

func (away) fail(ctx context.Context) mandate.Observation {
	<-ctx.Done()
	return mandate.Failed{Reason: ctx.Err().Error()}
}
func (a away) Read(ctx context.Context) mandate.Observation { return a.fail(ctx) }
func (a away) Renew(ctx context.Context, _ mandate.Renew, _ etcd.Facts) mandate.Observation {
	return a.fail(ctx)
}
func (a away) Take(ctx context.Context, _ mandate.Take, _ etcd.Facts) mandate.Observation {
	return a.fail(ctx)
}

func TestAnEtcdThatIsAwayIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		began := time.Now()
		requests := 0
		k := New(mandate.Settings{Region: "a", Validity: 5 * time.Second, Renew: 500 * time.Millisecond, Look: 100 * time.Millisecond}, Options{
			Store: away{}, Log: slog.New(slog.NewTextHandler(&out, nil)), Deadline: 400 * time.Millisecond, Tick: 100 * time.Millisecond,
			Now:   func() mandate.Instant { return mandate.Instant{Boot: time.Since(began) + time.Hour, Wall: time.Now()} },
			Tally: func(string, time.Duration) { requests++ },
		})
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if said := strings.Count(out.String(), "etcd did not answer in time"); said != 3 || requests < 100 {
			t.Errorf("told %d times of %d failures in 150 s, want 3:\n%s", said, requests, out.String())
		}
	})
}
