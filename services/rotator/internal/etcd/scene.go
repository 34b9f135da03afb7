package etcd

import (
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Scene is what happens around all credentials: who writes, which arbiters report, and who has something in the inbox.
type Scene struct {
	Active  events.Region
	Epoch   events.Epoch
	Reports map[events.Region]int64 // revision of the region's last report; one that never reported has none
	Called  []string                // credentials with something in the inbox
}

// Look reads the scene in one request, however many credentials there are.
func Look(ctx context.Context, client *etcd.Client) (Scene, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer, err := client.Txn(ctx).Then(
		clientv3.OpGet(state.KeyActive), clientv3.OpGet(state.KeyFailover), clientv3.OpGet(state.PrefixReport, clientv3.WithPrefix(), clientv3.WithKeysOnly()),
		clientv3.OpGet(prefixInbox, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1000)),
	).Commit()
	if err != nil {
		return Scene{}, fmt.Errorf("read active region, reports and inboxes: %w", err)
	}
	s := Scene{Reports: map[events.Region]int64{}}
	if s.Active, s.Epoch, err = mandate(answer.Responses[0].GetResponseRange().Kvs, answer.Responses[1].GetResponseRange().Kvs); err != nil {
		return s, err
	}
	for _, report := range answer.Responses[2].GetResponseRange().Kvs {
		s.Reports[events.Region(strings.TrimPrefix(string(report.Key), state.PrefixReport))] = report.ModRevision
	}
	for _, entry := range answer.Responses[3].GetResponseRange().Kvs {
		name, _, _ := strings.Cut(strings.TrimPrefix(string(entry.Key), prefixInbox), "/")
		s.Called = append(s.Called, name)
	}
	return s, nil
}
