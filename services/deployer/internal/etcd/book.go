// Package etcd is where a deployer keeps its rollout: one document a region and credential, written under the leader's term together with what is announced.
package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// requestTimeout bounds one request.
const requestTimeout = 3 * time.Second

// LeaderKey is the lock of a region's deployers: one of them rolls out.
func LeaderKey(region events.Region) string { return "/ofitec/deployer/" + string(region) + "/leader" }

// Book is one credential's rollout in one region. It is safe for concurrent use.
type Book struct {
	client *etcd.Client
	cell   etcd.Cell[state.Deployment]
	outbox *etcd.Outbox
	origin events.Origin
}

// Open names the credential and who announces.
func Open(client *etcd.Client, outbox *etcd.Outbox, name string, origin events.Origin) *Book {
	codec := etcd.Codec[state.Deployment]{
		Encode: func(d state.Deployment) ([]byte, error) { return state.Encode(d) },
		Decode: state.Decode[state.Deployment],
	}
	return &Book{client, etcd.NewCell(client, state.DeploymentKey(origin.Region, name), codec), outbox, origin}
}

// Read gives the rollout; its Number is 0 when there has been none.
func (b *Book) Read(ctx context.Context) (etcd.Value[state.Deployment], error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return b.cell.Get(ctx)
}

// Store writes the next state and what is announced with it in one transaction, in the leader's term only. It refuses with etcd.ErrOutboxFull
// while there is no room for the announcements.
func (b *Book) Store(ctx context.Context, l *etcd.Leadership, seen etcd.Value[state.Deployment], next state.Deployment, with []rollout.Action) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	options := []etcd.SwapOption{etcd.Under(l)}
	for _, action := range with {
		if a, ok := action.(rollout.Announce); ok {
			op, err := b.announce(a)
			if err != nil {
				return err
			}
			options = append(options, etcd.And(op))
		}
	}
	if err := b.room(ctx, with); err != nil {
		return err
	}
	_, err := b.cell.CompareAndSwap(ctx, seen, next, options...)
	return err
}

// Mine asks etcd whether the term is still the leader's. A process that was stopped and wakes believes so until its clock is looked at.
func (b *Book) Mine(ctx context.Context, l *etcd.Leadership) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := b.client.Txn(ctx).If(l.Guard()).Commit()
	if err != nil {
		return fmt.Errorf("ask for the leader: %w", err)
	}
	if !answer.Succeeded {
		return etcd.ErrTermOver
	}
	return nil
}

// room refuses what there is no room to announce. Nothing is stored then, and the next turn tries the same step again.
func (b *Book) room(ctx context.Context, with []rollout.Action) error {
	announcements := 0
	for _, action := range with {
		if _, ok := action.(rollout.Announce); ok {
			announcements++
		}
	}
	if announcements == 0 {
		return nil
	}
	return b.outbox.Room(ctx, announcements)
}

func (b *Book) announce(a rollout.Announce) (clientv3.Op, error) {
	var options []events.Option
	if a.Correlation != "" && a.Causation != "" {
		options = append(options, events.Correlated(a.Correlation, a.Causation))
	}
	event, err := events.New(b.origin, a.At, a.Payload, options...)
	if err != nil {
		return clientv3.Op{}, err
	}
	return b.outbox.Announce(event)
}
