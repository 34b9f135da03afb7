// Package etcd reads what the arbiters, the rotator and the deployers keep in etcd.
package etcd

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/console/internal/board"
)

// Reader reads from all members at once, so that a lost one costs no time. It is safe for concurrent use.
type Reader struct{ members []*clientv3.Client }

// NewReader reads through the client's members; the caller closes the client.
func NewReader(client *etcd.Client) *Reader { return &Reader{client.Endpoints()} }

// Read gives all documents as they stood at one revision. A document that cannot be read, as one of a later version, is left out and named.
func (r *Reader) Read(ctx context.Context) (board.Documents, error) {
	answer, err := etcd.Race(ctx, r.members, func(ctx context.Context, member *clientv3.Client) (*clientv3.TxnResponse, error) {
		return member.Txn(ctx).Then(
			clientv3.OpGet(state.KeyFailover), clientv3.OpGet(state.KeyMandate), clientv3.OpGet(state.KeyConfig),
			clientv3.OpGet(state.PrefixReport, clientv3.WithPrefix()), clientv3.OpGet(state.PrefixCred, clientv3.WithPrefix()), clientv3.OpGet(state.PrefixDepl, clientv3.WithPrefix()),
		).Commit()
	})
	if err != nil {
		return board.Documents{}, fmt.Errorf("read state: %w", err)
	}
	at := func(n int) *clientv3.GetResponse {
		return (*clientv3.GetResponse)(answer.Responses[n].GetResponseRange())
	}
	var documents board.Documents
	unread := &documents.Unread
	documents.Failover = one[state.Failover](at(0), unread)
	documents.Mandate = one[state.Mandate](at(1), unread)
	documents.Config = one[state.Config](at(2), unread)
	documents.Reports = all[state.Report](at(3), unread)
	documents.Credentials = all[state.Credential](at(4), unread)
	documents.Deployments = all[state.Deployment](at(5), unread)
	if found := at(1).Kvs; len(found) > 0 {
		documents.MandateRevision = found[0].ModRevision
	}
	return documents, nil
}

func one[T state.Document](answer *clientv3.GetResponse, unread *[]string) *T {
	list := all[T](answer, unread)
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

func all[T state.Document](answer *clientv3.GetResponse, unread *[]string) []T {
	var list []T
	for _, entry := range answer.Kvs {
		document, err := state.Decode[T](entry.Value)
		if err != nil {
			*unread = append(*unread, fmt.Sprintf("%s: %v", entry.Key, err))
			continue
		}
		list = append(list, document)
	}
	return list
}
