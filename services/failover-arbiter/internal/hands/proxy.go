package hands

import (
	"context"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
)

// runProxy keeps the proxy's pools as they should be: a proxy that restarts is closed and is opened again, one that was opened by a stray hand is closed.
func (h *Hands) runProxy(ctx context.Context) {
	ticker := time.NewTicker(h.Every)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			h.shut(ctx)
			return
		case <-h.proxyKick:
			if h.closeNow.Swap(false) && !h.order.Load().open {
				h.closePool(ctx, haproxy.Database)
			}
		case <-ticker.C:
		}
		err := h.alignProxy(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			h.Log.Info("the database proxy's socket", "answers", !failing, "error", err)
		}
	}
}

// alignProxy opens and closes what is not as it should be.
func (h *Hands) alignProxy(ctx context.Context) error {
	opened, err := h.Proxy.Opened(ctx)
	if err != nil {
		return err
	}
	c := h.condition.Load()
	standby, _ := h.Standby()
	wanted := map[haproxy.Pool]bool{
		haproxy.Database: h.order.Load().open && c.rules == admitted && !c.Standby,
		haproxy.Read:     standby && c.rules == admitted,
	}
	for pool, want := range wanted {
		if opened[pool] == want {
			continue
		}
		if !want {
			h.closePool(ctx, pool)
			continue
		}
		if err := h.Proxy.Open(ctx, pool); err != nil {
			return err
		}
		h.counts.Openings.Add(1)
		h.Log.Info("proxy opened", "pool", pool)
	}
	// An order to close may have come while a pool was being opened.
	if !h.order.Load().open && wanted[haproxy.Database] {
		h.closePool(ctx, haproxy.Database)
	}
	return nil
}

func (h *Hands) closePool(ctx context.Context, pool haproxy.Pool) {
	if err := h.Proxy.Close(ctx, pool); err != nil {
		h.counts.Failures.Add(1)
		h.unclosed.Note(err, "pool", pool)
		return
	}
	h.unclosed.Note(nil, "pool", pool)
	h.counts.Closings.Add(1)
	h.Log.Info("proxy closed", "pool", pool)
}

// shut closes both pools at the end of the process, when ctx has ended.
func (h *Hands) shut(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.FenceIn)
	defer cancel()
	h.closePool(ctx, haproxy.Database)
	h.closePool(ctx, haproxy.Read)
}
