// Package etcd reads and renews the mandate where all regions see it (protocol.md, Mandate 1 to 3). What is asked over and over goes to the own region's member alone while
// that answers, and to all at once, one client each, from the moment that it does not (etcd.Nearest); steps of a failover go to all at once. The comparisons make
// duplicates harmless.
package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// Store is one arbiter's view of /ofitec/failover. It is safe for concurrent use. Deadlines are the context's.
type Store struct {
	nearest     *etcd.Nearest
	region      events.Region
	incarnation string
	shared      state.Config
	now         func() mandate.Instant
}

// NewStore makes a Store over one client a member. It remembers a silent member for itself: no other's call makes two renewals in a row wait for it.
func NewStore(nearest *etcd.Nearest, region events.Region, incarnation string, shared state.Config, now func() mandate.Instant) *Store {
	return &Store{nearest.Apart(), region, incarnation, shared, now}
}

// Facts are what the holder's database was last seen at; they travel with each renewal.
type Facts struct {
	FlushLSN        events.LSN
	Timeline        int
	HeartbeatNumber int64
	HeartbeatAt     mandate.Instant // zero: none yet
}

// Read reads state, mandate and configuration in one linearizable transaction. Its answer is a Seen or a Failed.
func (s *Store) Read(ctx context.Context) mandate.Observation {
	seen, err := etcd.Ask(ctx, s.nearest, func(ctx context.Context, member *clientv3.Client) (mandate.Seen, error) {
		response, err := member.Txn(ctx).Then(view()...).Commit()
		if err != nil {
			return mandate.Seen{}, err
		}
		return decode(response.Responses)
	})
	if err != nil {
		return mandate.Failed{Reason: err.Error()}
	}
	return seen
}

// Renew puts a new mandate in the place of the one that was read, while the state is still the one that was read. The answer is a Renewed; a Seen when
// the comparison failed; a Failed when nobody knows.
func (s *Store) Renew(ctx context.Context, a mandate.Renew, facts Facts) mandate.Observation {
	sent := s.now()
	document, err := state.Encode(s.document(a.Epoch, a.Number, sent, facts))
	if err != nil {
		return mandate.Failed{Reason: err.Error()}
	}
	conditions := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(state.KeyMandate), "=", a.MandateRevision),
		clientv3.Compare(clientv3.ModRevision(state.KeyFailover), "=", a.FailoverRevision),
	}
	effects := []clientv3.Op{clientv3.OpPut(state.KeyMandate, string(document))}
	revisions := func(header int64) (int64, int64) { return header, a.FailoverRevision }
	return s.commit(ctx, a.Number, sent, conditions, effects, revisions)
}

// Take writes the first state of all, epoch 1 of this region, with its mandate, where there is neither. The answers are those of Renew.
func (s *Store) Take(ctx context.Context, a mandate.Take, facts Facts) mandate.Observation {
	sent := s.now()
	failover := state.Failover{Epoch: 1, Active: s.region, Phase: state.PhaseSteady, Since: sent.Wall}
	var effects []clientv3.Op
	for _, document := range []struct {
		key     string
		content state.Document
	}{
		{state.KeyFailover, failover}, {state.KeyMandate, s.document(1, a.Number, sent, facts)}, {state.KeyConfig, s.shared},
	} {
		data, err := state.Encode(document.content)
		if err != nil {
			return mandate.Failed{Reason: err.Error()}
		}
		effects = append(effects, clientv3.OpPut(document.key, string(data)))
	}
	active, err := state.EncodeActive(s.region)
	if err != nil {
		return mandate.Failed{Reason: err.Error()}
	}
	effects = append(effects, clientv3.OpPut(state.KeyActive, string(active)))
	conditions := []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(state.KeyFailover), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(state.KeyMandate), "=", 0),
		clientv3.Compare(clientv3.ModRevision(state.KeyConfig), "=", a.ConfigRevision),
	}
	revisions := func(header int64) (int64, int64) { return header, header }
	return s.commit(ctx, a.Number, sent, conditions, effects, revisions)
}

func (s *Store) document(epoch events.Epoch, number int64, sent mandate.Instant, facts Facts) state.Mandate {
	m := state.Mandate{
		Owner: s.region, Epoch: epoch, Incarnation: s.incarnation, Renewal: number, RenewedAt: sent.Wall,
		FlushLSN: facts.FlushLSN, Timeline: facts.Timeline, HeartbeatNumber: facts.HeartbeatNumber,
	}
	if at := facts.HeartbeatAt.Wall; !at.IsZero() {
		m.HeartbeatAt = &at
	}
	return m
}

// refused is a comparison that failed, with what stood there.
type refused struct{ seen mandate.Seen }

func (r *refused) Error() string {
	return fmt.Sprintf("comparison failed: mandate at revision %d, state at %d", r.seen.MandateRevision, r.seen.FailoverRevision)
}

// commit sends a transaction. When it went to several members, one's duplicate is refused because another's took effect: the mandate with this very number is a success.
func (s *Store) commit(ctx context.Context, number int64, sent mandate.Instant, conditions []clientv3.Cmp, effects []clientv3.Op, revisions func(int64) (int64, int64)) mandate.Observation {
	renewed, err := etcd.Ask(ctx, s.nearest, func(ctx context.Context, member *clientv3.Client) (mandate.Renewed, error) {
		response, err := member.Txn(ctx).If(conditions...).Then(effects...).Else(view()...).Commit()
		if err != nil {
			return mandate.Renewed{}, err
		}
		if response.Succeeded {
			own, failover := revisions(response.Header.Revision)
			return mandate.Renewed{Number: number, Sent: sent, Revision: own, FailoverRevision: failover}, nil
		}
		seen, err := decode(response.Responses)
		if err != nil {
			return mandate.Renewed{}, err
		}
		if m := seen.Mandate; m != nil && m.Incarnation == s.incarnation && m.Renewal == number {
			_, failover := revisions(seen.MandateRevision)
			return mandate.Renewed{Number: number, Sent: sent, Revision: seen.MandateRevision, FailoverRevision: failover}, nil
		}
		return mandate.Renewed{}, &refused{seen}
	})
	if err == nil {
		return renewed
	}
	var r *refused
	if errors.As(err, &r) {
		return r.seen
	}
	return mandate.Failed{Reason: err.Error()}
}

// view reads what decode expects, in its order.
func view() []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(state.KeyFailover), clientv3.OpGet(state.KeyMandate), clientv3.OpGet(state.KeyConfig)}
}

func decode(responses []*etcdserverpb.ResponseOp) (mandate.Seen, error) {
	var seen mandate.Seen
	var problems [3]error
	seen.Failover, seen.FailoverRevision, problems[0] = one[state.Failover](responses[0].GetResponseRange().Kvs)
	seen.Mandate, seen.MandateRevision, problems[1] = one[state.Mandate](responses[1].GetResponseRange().Kvs)
	seen.Config, seen.ConfigRevision, problems[2] = one[state.Config](responses[2].GetResponseRange().Kvs)
	return seen, errors.Join(problems[:]...)
}

func one[T state.Document](found []*mvccpb.KeyValue) (*T, int64, error) {
	if len(found) == 0 {
		return nil, 0, nil
	}
	document, err := state.Decode[T](found[0].Value)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s: %w", found[0].Key, err)
	}
	return &document, found[0].ModRevision, nil
}
