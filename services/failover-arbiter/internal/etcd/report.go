package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Reports writes one region's report. A comparison with the last one keeps a copy that was late on its way from replacing a newer one.
// It is safe for concurrent use; calls wait for each other.
type Reports struct {
	nearest *etcd.Nearest
	key     string

	mu       sync.Mutex
	revision int64 // of the report that stands there, as far as is known
}

// NewReports makes the writer of a region over one client a member.
func NewReports(nearest *etcd.Nearest, region events.Region) *Reports {
	return &Reports{nearest: nearest, key: state.ReportKey(region)}
}

// stale is a comparison that failed: the report stands at another revision.
type stale struct{ revision int64 }

func (s *stale) Error() string {
	return fmt.Sprintf("comparison failed: the report is at revision %d", s.revision)
}

// Put writes a report in the place of the one before. After an error nobody knows whether it stands there; the next call finds out.
func (r *Reports) Put(ctx context.Context, report state.Report) error {
	document, err := state.Encode(report)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for range 3 { // the first process of a day does not know the revision, nor does one whose last answer was lost
		err = r.put(ctx, string(document), report)
		var s *stale
		if !errors.As(err, &s) {
			break
		}
		r.revision = s.revision
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (r *Reports) put(ctx context.Context, document string, report state.Report) error {
	expected := r.revision
	revision, err := etcd.Ask(ctx, r.nearest, func(ctx context.Context, member *clientv3.Client) (int64, error) {
		response, err := member.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(r.key), "=", expected)).
			Then(clientv3.OpPut(r.key, document)).Else(clientv3.OpGet(r.key)).Commit()
		if err != nil {
			return 0, err
		}
		if response.Succeeded {
			return response.Header.Revision, nil
		}
		found := response.Responses[0].GetResponseRange().Kvs
		if len(found) == 0 {
			return 0, &stale{}
		}
		stands, err := state.Decode[state.Report](found[0].Value)
		if err == nil && stands.Incarnation == report.Incarnation && stands.Number == report.Number {
			return found[0].ModRevision, nil // another member's copy took effect
		}
		return 0, &stale{found[0].ModRevision}
	})
	if err == nil {
		r.revision = revision
	}
	return err
}
