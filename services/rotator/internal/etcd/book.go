// Package etcd is where the rotator keeps what it knows: the credential's state, written under the leader's term, and an inbox. What is said to a rotator is put into
// the inbox before it is acknowledged, by whichever instance heard it; the leader takes it out in the transaction that stores what follows from it.
package etcd

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/rotator/internal/rotation"
)

// prefixInbox is beside the leader key, where only rotators may write.
const prefixInbox = "/ofitec/rotator/inbox/"

const (
	requestTimeout = 3 * time.Second // bounds one request
	heardAtOnce    = 64              // a transaction of etcd takes 128 operations
)

// Book is one credential's place in etcd. It is safe for concurrent use.
type Book struct {
	client *etcd.Client
	cell   etcd.Cell[state.Credential]
	outbox *etcd.Outbox
	name   string
	origin events.Origin
}

// Open names the credential and who announces.
func Open(client *etcd.Client, outbox *etcd.Outbox, name string, origin events.Origin) *Book {
	codec := etcd.Codec[state.Credential]{
		Encode: func(s state.Credential) ([]byte, error) { return state.Encode(s) },
		Decode: state.Decode[state.Credential],
	}
	return &Book{client, etcd.NewCell(client, state.CredentialKey(name), codec), outbox, name, origin}
}

// Page is what stands in the book at one time. Revision and keys say what a write rests on.
type Page struct {
	State   etcd.Value[state.Credential]
	Active  events.Region
	Epoch   events.Epoch // of the mandate in force, 0 before the first
	Wish    *rotation.Wish
	Results []rotation.Result

	wishKey      string
	wishRevision int64
	heard        []string // keys of the results
}

// Read looks everything up, at one revision. What is in the inbox and cannot be read is taken for heard: it was checked before it was put there.
func (b *Book) Read(ctx context.Context) (Page, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var p Page
	var err error
	if p.State, err = b.cell.Get(ctx); err != nil {
		return p, err
	}
	answer, err := b.client.Txn(ctx).Then(
		clientv3.OpGet(state.KeyActive), clientv3.OpGet(state.KeyFailover),
		clientv3.OpGet(b.inbox(), clientv3.WithPrefix(), clientv3.WithLimit(heardAtOnce), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)),
	).Commit()
	if err != nil {
		return p, fmt.Errorf("read active region, epoch and inbox: %w", err)
	}
	if p.Active, p.Epoch, err = mandate(answer.Responses[0].GetResponseRange().Kvs, answer.Responses[1].GetResponseRange().Kvs); err != nil {
		return p, err
	}
	for _, entry := range answer.Responses[2].GetResponseRange().Kvs {
		p.take(string(entry.Key), entry.Value, entry.ModRevision)
	}
	return p, nil
}

func mandate(active, failover []*mvccpb.KeyValue) (region events.Region, epoch events.Epoch, err error) {
	if len(active) > 0 {
		if region, err = state.DecodeActive(active[0].Value); err != nil {
			return region, epoch, err
		}
	}
	if len(failover) > 0 { // one that a newer arbiter has written, and that is not understood here, does not stop a rotation
		if now, err := state.Decode[state.Failover](failover[0].Value); err == nil {
			epoch = now.Epoch
		}
	}
	return region, epoch, nil
}

func (p *Page) take(key string, value []byte, revision int64) {
	event, err := events.Decode(value)
	if err != nil {
		p.heard = append(p.heard, key)
		return
	}
	payload, err := event.Payload()
	if err != nil {
		p.heard = append(p.heard, key)
		return
	}
	result := rotation.Result{Correlation: event.CorrelationID, Causation: event.MsgID()}
	switch e := payload.(type) {
	case events.JobRotate:
		p.Wish = &rotation.Wish{Act: e.Act, Correlation: event.CorrelationID, Causation: event.MsgID()}
		p.wishKey, p.wishRevision = key, revision
		return
	case events.CredentialDeployed:
		result.Region, result.Version, result.Deployed = e.Region, e.Version, true
		p.Results = append(p.Results, result)
	case events.CredentialRolledBack:
		result.Region, result.Version, result.Reason = e.Region, e.Version, e.Step+": "+e.Reason
		p.Results = append(p.Results, result)
	}
	p.heard = append(p.heard, key)
}

// Heard says whether the page holds something that a write takes out.
func (p Page) Heard() bool { return len(p.heard) > 0 }

func (b *Book) inbox() string { return prefixInbox + b.name + "/" }

// Put brings an event into the inbox. A wish replaces an earlier one that is not granted yet: one rotation grants both.
func (b *Book) Put(ctx context.Context, event events.Event) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	data, err := event.Encode()
	if err != nil {
		return fmt.Errorf("put %s into the inbox: %w", event.MsgID(), err)
	}
	key := b.inbox() + "result/" + url.PathEscape(event.MsgID())
	if event.Type == events.TypeJobRotate {
		key = b.inbox() + "wish"
	}
	if _, err := b.client.Put(ctx, key, string(data)); err != nil {
		return fmt.Errorf("put %s into the inbox: %w", event.MsgID(), err)
	}
	return nil
}

// Store writes the next state, what is announced with it, and takes out of the inbox what was heard, in one transaction under the leader's term. It refuses with
// etcd.ErrOutboxFull while there is no room for the announcements.
func (b *Book) Store(ctx context.Context, l *etcd.Leadership, p Page, next state.Credential, with []rotation.Action, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	options := []etcd.SwapOption{etcd.Under(l)}
	for _, key := range p.heard {
		options = append(options, etcd.And(clientv3.OpDelete(key)))
	}
	for _, action := range with {
		switch a := action.(type) {
		case rotation.Fulfil:
			options = append(options, etcd.If(clientv3.Compare(clientv3.ModRevision(p.wishKey), "=", p.wishRevision)), etcd.And(clientv3.OpDelete(p.wishKey)))
		case rotation.Announce:
			announce, err := b.announce(a, now)
			if err != nil {
				return err
			}
			options = append(options, etcd.And(announce))
		}
	}
	next.Term = l.Term
	if err := b.room(ctx, with); err != nil {
		return err
	}
	_, err := b.cell.CompareAndSwap(ctx, p.State, next, options...)
	return err
}

// room refuses what there is no room to announce. Nothing is stored then, and the next turn tries the same step again.
func (b *Book) room(ctx context.Context, with []rotation.Action) error {
	announcements := 0
	for _, action := range with {
		if _, ok := action.(rotation.Announce); ok {
			announcements++
		}
	}
	if announcements == 0 {
		return nil
	}
	return b.outbox.Room(ctx, announcements)
}

func (b *Book) announce(a rotation.Announce, now time.Time) (clientv3.Op, error) {
	var options []events.Option
	if a.Correlation != "" {
		options = append(options, events.Correlated(a.Correlation, a.Causation))
	}
	event, err := events.New(b.origin, now, a.Payload, options...)
	if err != nil {
		return clientv3.Op{}, err
	}
	return b.outbox.Announce(event)
}
