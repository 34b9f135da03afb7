package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// OutboxLimit is how many events of one service may wait, and maxEvent how large one may be: etcd is no log, and its quota
// is 2 GiB.
const (
	OutboxLimit = 5000
	maxEvent    = 64 << 10
	unreadable  = 100 // entries that cannot be read and still hold up nobody
)

// ErrOutboxFull is wrapped by Room.
var ErrOutboxFull = errors.New("the outbox is full")

// Outbox holds the events of a service, of all its regions, that are not yet acknowledged by the bus, one key each, under
// /ofitec/outbox/<service>/. It is safe for concurrent use.
type Outbox struct {
	kv     clientv3.KV
	prefix string
}

// NewOutbox is the outbox of a service by its name.
func NewOutbox(kv clientv3.KV, service string) *Outbox {
	return &Outbox{kv: kv, prefix: state.OutboxPrefix(service)}
}

func (o *Outbox) key(msgID string) string { return o.prefix + url.PathEscape(msgID) }

// Announce is the write that puts the event into the outbox; it goes into the transaction of the effect that it announces (And). The same event
// twice is one entry, and keeps its place.
func (o *Outbox) Announce(e events.Event) (clientv3.Op, error) {
	data, err := e.Encode()
	if err != nil {
		return clientv3.Op{}, fmt.Errorf("announce event: %w", err)
	}
	if len(data) > maxEvent {
		return clientv3.Op{}, fmt.Errorf("announce event %s: %d bytes, the outbox takes %d", e.MsgID(), len(data), maxEvent)
	}
	return clientv3.OpPut(o.key(e.MsgID()), string(data)), nil
}

// Room is an error that wraps ErrOutboxFull when n more events would go past the limit. Etcd cannot count inside a transaction, so concurrent
// callers may pass it a little. Whoever must act even so (a failover) acts, and raises the alarm.
func (o *Outbox) Room(ctx context.Context, n int) error {
	waiting, err := o.Waiting(ctx)
	if err != nil {
		return err
	}
	if waiting+int64(n) > OutboxLimit {
		return fmt.Errorf("announce %d events: %d of %d wait: %w", n, waiting, OutboxLimit, ErrOutboxFull)
	}
	return nil
}

// Waiting is the number of events that wait; a metric and an alarm should look at it.
func (o *Outbox) Waiting(ctx context.Context) (int64, error) {
	response, err := o.kv.Get(ctx, o.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("count outbox %s: %w", o.prefix, err)
	}
	return response.Count, nil
}

// Pending gives at most limit events, in the order in which they were announced. An entry that cannot be read is logged and passed over, where it
// stays for a human: it must not hold up the others for ever.
func (o *Outbox) Pending(ctx context.Context, limit int) ([]events.Event, error) {
	response, err := o.kv.Get(ctx, o.prefix, clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(int64(limit)+unreadable))
	if err != nil {
		return nil, fmt.Errorf("read outbox %s: %w", o.prefix, err)
	}
	var pending []events.Event
	for _, entry := range response.Kvs {
		if len(pending) == limit {
			break
		}
		event, err := events.Decode(entry.Value)
		if err != nil {
			slog.Error("entry of the outbox cannot be read", "key", string(entry.Key), "error", err)
			continue
		}
		pending = append(pending, event)
	}
	return pending, nil
}

// Done takes the event with this message id out: the bus has acknowledged it. An event that is not there is done already.
func (o *Outbox) Done(ctx context.Context, msgID string) error {
	if _, err := o.kv.Delete(ctx, o.key(msgID)); err != nil {
		return fmt.Errorf("take event %s out of the outbox: %w", msgID, err)
	}
	return nil
}
