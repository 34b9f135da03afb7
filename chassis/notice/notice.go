// Package notice tells of what lasts, such as a server that is away: when it begins, once a minute while it lasts, and when it ends. Whoever tries twice a
// second would else bury the log.
package notice

import (
	"log/slog"
	"sync"
	"time"
)

// Every is how far apart two warnings of one notice are at least, whatever comes and goes in between.
const Every = time.Minute

// Notice is one thing that may go wrong and last. It is safe for concurrent use; nil is one that says nothing.
type Notice struct {
	what string
	log  func() *slog.Logger
	now  func() time.Time

	mu    sync.Mutex
	since time.Time // when it began; zero: it is well
	count int       // failures since then
	told  bool      // since it began
	last  time.Time // warning
}

// New makes a notice of what goes wrong, in words that stand alone: "etcd does not answer". A nil log is slog's default at the time of each line, a nil now the
// machine's clock.
func New(log *slog.Logger, what string, now func() time.Time) *Notice {
	n := &Notice{what: what, log: slog.Default, now: now}
	if log != nil {
		n.log = func() *slog.Logger { return log }
	}
	if now == nil {
		n.now = time.Now
	}
	return n
}

// Note takes the outcome of one attempt; nil is that it is well. The arguments go with the line, if there is one.
func (n *Notice) Note(err error, args ...any) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := n.now()
	if err == nil {
		n.end(now, args)
		return
	}
	if n.since.IsZero() {
		n.since, n.count, n.told = now, 0, false
	}
	n.count++
	if !n.last.IsZero() && now.Sub(n.last) < Every {
		return
	}
	n.last, n.told = now, true
	args = append([]any{"error", err}, args...)
	if n.count > 1 {
		args = append(args, "lasts", now.Sub(n.since).String(), "failures", n.count)
	}
	n.log().Warn(n.what, args...)
}

// end is silent about what nobody was told of.
func (n *Notice) end(now time.Time, args []any) {
	if n.told {
		n.log().Info("over: "+n.what, append([]any{"lasted", now.Sub(n.since).String(), "failures", n.count}, args...)...)
	}
	n.since, n.told = time.Time{}, false
}
