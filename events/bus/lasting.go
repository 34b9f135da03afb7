package bus

import (
	"context"
	"log/slog"
	"time"
)

// lastingEvery is how far apart two warnings of one trouble are at least.
const lastingEvery = time.Minute

// lasting tells of what lasts: when it begins, once a minute, and when it ends. It is chassis/notice for one goroutine: contracts stand on no chassis.
type lasting struct {
	log         *slog.Logger
	what        string
	since, last time.Time // when it began, zero: it is well; the last warning
	told        bool      // since it began
}

// note takes the outcome of one attempt; nil is that it is well.
func (l *lasting) note(ctx context.Context, err error, args ...any) {
	now := time.Now()
	if err == nil {
		if l.told {
			l.log.InfoContext(ctx, "over: "+l.what, append([]any{"lasted", now.Sub(l.since).String()}, args...)...)
		}
		l.since, l.told = time.Time{}, false
		return
	}
	if l.since.IsZero() {
		l.since = now
	}
	if !l.last.IsZero() && now.Sub(l.last) < lastingEvery {
		return
	}
	l.last, l.told = now, true
	l.log.WarnContext(ctx, l.what, append([]any{"error", err.Error(), "lasts", now.Sub(l.since).String()}, args...)...)
}
