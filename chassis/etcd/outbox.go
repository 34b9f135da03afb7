package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

// OutboxLimit is how many events of one service may wait, and maxEvent how large one may be: etcd is no log, and its quota
// is 2 GiB.
const (
	OutboxLimit   = 5000
	maxEvent      = 64 << 10
	pendingAtOnce = 256 // the publisher asks again
)

// ErrOutboxFull is wrapped by Room.
var ErrOutboxFull = errors.New("the outbox is full")

// Outbox holds the events of a service, of all its regions, that are not yet acknowledged by the bus, one key each, under
// /ofitec/outbox/<service>/. It is safe for concurrent use.
type Outbox struct {
	kv     clientv3.KV
	prefix string
	fills  *notice.Notice
}

var (
	_ bus.Store   = (*Outbox)(nil)
	_ bus.Counter = (*Outbox)(nil) // the gauge ofitec_bus_outbox_events
)

// NewOutbox is the outbox of a service by its name.
func NewOutbox(kv clientv3.KV, service string) *Outbox {
	return &Outbox{kv: kv, prefix: state.OutboxPrefix(service), fills: notice.New(nil, "the outbox fills", nil)}
}

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
	return clientv3.OpPut(o.prefix+url.PathEscape(e.MsgID()), string(data)), nil
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

// Waiting is the number of events that wait. More than half of the limit is told once a minute; bus.Outbox asks every few seconds while any wait.
func (o *Outbox) Waiting(ctx context.Context) (int64, error) {
	response, err := o.kv.Get(ctx, o.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("count outbox %s: %w", o.prefix, err)
	}
	o.watch(response.Count)
	return response.Count, nil
}

// watch tells of an outbox that fills.
func (o *Outbox) watch(waiting int64) {
	if waiting <= OutboxLimit/2 {
		o.fills.Note(nil, "waiting", waiting)
		return
	}
	o.fills.Note(fmt.Errorf("%d events wait below %s for the bus, the limit is %d", waiting, o.prefix, OutboxLimit))
}

// Pending gives the oldest events that wait, in the order in which they were announced.
func (o *Outbox) Pending(ctx context.Context) ([]bus.Entry, error) {
	response, err := o.kv.Get(ctx, o.prefix, clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(pendingAtOnce))
	if err != nil {
		return nil, fmt.Errorf("read outbox %s: %w", o.prefix, err)
	}
	if len(response.Kvs) == 0 {
		o.watch(0)
	}
	pending := make([]bus.Entry, len(response.Kvs))
	for i, entry := range response.Kvs {
		pending[i] = bus.Entry{Key: string(entry.Key), Data: entry.Value}
	}
	return pending, nil
}

// Done takes an entry out: the bus has acknowledged it. An entry that is not there is done already.
func (o *Outbox) Done(ctx context.Context, entry bus.Entry) error {
	if _, err := o.kv.Delete(ctx, entry.Key); err != nil {
		return fmt.Errorf("take %s out of the outbox: %w", entry.Key, err)
	}
	return nil
}
