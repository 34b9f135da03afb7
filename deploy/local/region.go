package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/deploy/local/supervise"
	"github.com/ofitec/ofitec/events/state"
)

// survives are the entries of a region's folder that a destruction leaves: keys, which whoever sets the region up anew would be given again, and the logs, which
// are evidence. Everything else is what the region's disks held.
var survives = []string{"identity", "log"}

// trash is where a destroyed region's folders go first, so that a crash in the middle leaves none of them half.
const trash = ".destroyed"

// LoseRegion implements control.Regions.
func (s *Stack) LoseRegion(ctx context.Context, name string, how control.LossRequest) (control.Loss, error) {
	r := layout.Region(name)
	if err := s.refuseLoss(r, how); err != nil {
		return control.Loss{}, err
	}
	loss := control.Loss{LossRequest: how, At: time.Now()}
	for _, status := range s.supervisor.Statuses() {
		if status.Region == name {
			loss.Units++
		}
	}
	s.mu.Lock()
	if earlier, lost := s.lost[r]; lost {
		s.mu.Unlock()
		return earlier, control.BadRequest("region %s is lost already, since %s; bring it back first: ofitec drill restore %s", r, earlier.At.Format(time.TimeOnly), r)
	}
	s.lost[r] = loss
	s.mu.Unlock()
	s.terminal.say("region %s is being lost: %d components", r, loss.Units)
	err := s.lose(ctx, r, how)
	loss.Dead = time.Now()
	s.setLoss(r, func(l *control.Loss) { l.Dead = loss.Dead })
	if err != nil {
		return loss, fmt.Errorf("lose region %s: %w", r, err)
	}
	s.terminal.say("region %s is lost; bring it back with: ofitec drill restore %s", r, r)
	return loss, nil
}

func (s *Stack) refuseLoss(r layout.Region, how control.LossRequest) error {
	switch {
	case !slices.Contains(layout.Regions, r):
		return control.BadRequest("region %q: must be a, b or c", r)
	case how.BlackHole && !s.options.Namespaces:
		return control.BadRequest("a region of this stack cannot be cut off: on loopback a connection to %s leaves from 127.0.0.1, so that packets of one region cannot be told from those of another. "+
			"Start the stack with up --netns, or lose the region by kill alone, which resets its connections", s.layout.Addressing.Region[r])
	}
	return nil
}

// lose does it. The kill goes on until nothing runs in the database's folder: a busy backend can commit after its postmaster is gone.
func (s *Stack) lose(ctx context.Context, r layout.Region, how control.LossRequest) error {
	if how.BlackHole {
		if err := netns.Cut(ctx, r); err != nil {
			return err
		}
	}
	if err := s.supervisor.KillRegion(ctx, string(r)); err != nil {
		return err
	}
	if r.HoldsData() {
		limited, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := supervise.KillFolder(limited, s.layout.PostgresDataDir(r)); err != nil {
			return err
		}
	}
	if how.Destroy {
		return destroyRegion(s.layout.RegionDir(r))
	}
	return nil
}

// destroyRegion removes what a region's disks held.
func destroyRegion(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("destroy region: %w", err)
	}
	aside := filepath.Join(dir, trash)
	if err := errors.Join(os.RemoveAll(aside), os.Mkdir(aside, 0o700)); err != nil {
		return fmt.Errorf("destroy region: %w", err)
	}
	for _, entry := range entries {
		if slices.Contains(survives, entry.Name()) || entry.Name() == trash {
			continue
		}
		if err := os.Rename(filepath.Join(dir, entry.Name()), filepath.Join(aside, entry.Name())); err != nil {
			return fmt.Errorf("destroy region: %w", err)
		}
	}
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("destroy region: %w", err)
	}
	return nil
}

func (s *Stack) setLoss(r layout.Region, change func(*control.Loss)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if loss, lost := s.lost[r]; lost {
		change(&loss)
		s.lost[r] = loss
	}
}

// losses are the lost regions by name.
func (s *Stack) losses() map[string]control.Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all map[string]control.Loss
	for r, loss := range s.lost {
		if all == nil {
			all = map[string]control.Loss{}
		}
		all[string(r)] = loss
	}
	return all
}

// refuseStart keeps a lost region down until it is restored.
func (s *Stack) refuseStart(id string) error {
	region, _, _ := strings.Cut(id, "/")
	s.mu.Lock()
	defer s.mu.Unlock()
	if loss, lost := s.lost[layout.Region(region)]; lost && loss.Restoring == "" {
		return control.BadRequest("%s stays down: region %s is lost since %s; bring it back with: ofitec drill restore %s", id, region, loss.At.Format(time.TimeOnly), region)
	}
	return nil
}

// RestoreRegion implements control.Regions. The work is done by restoring, one region after the other.
func (s *Stack) RestoreRegion(name string) error {
	r := layout.Region(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	loss, lost := s.lost[r]
	switch {
	case !slices.Contains(layout.Regions, r):
		return control.BadRequest("region %q: must be a, b or c", name)
	case !lost:
		return control.BadRequest("region %s is not lost", name)
	case loss.Dead.IsZero():
		return control.BadRequest("region %s is still being lost", name)
	case loss.Restoring != "":
		return control.BadRequest("region %s is being restored already: %s", name, loss.Restoring)
	}
	select {
	case s.restores <- r:
	default:
		return control.BadRequest("other regions are being restored; ask again")
	}
	loss.Restoring, loss.Failed = "begins", ""
	s.lost[r] = loss
	return nil
}

// failover reads the state that decides; the zero state means that nobody has ever held the mandate.
func (s *Stack) failover(ctx context.Context, without layout.Region) (state.Failover, error) {
	client, err := s.etcdClient(ctx, without)
	if err != nil {
		return state.Failover{}, err
	}
	defer func() { _ = client.Close() }()
	limited, cancel := context.WithTimeout(ctx, shortAttempt)
	defer cancel()
	answer, err := client.Get(limited, state.KeyFailover)
	if err != nil {
		return state.Failover{}, fmt.Errorf("read %s: %w", state.KeyFailover, err)
	}
	if len(answer.Kvs) == 0 {
		return state.Failover{}, nil
	}
	return state.Decode[state.Failover](answer.Kvs[0].Value)
}

// etcdClient is the operator's, on the members of all regions but one; the caller closes it.
func (s *Stack) etcdClient(ctx context.Context, without layout.Region) (*clientv3.Client, error) {
	var endpoints []string
	for _, r := range layout.Regions {
		if r != without {
			endpoints = append(endpoints, "https://"+s.layout.Addressing.Addr(r, layout.PortEtcd))
		}
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: s.tls, DialTimeout: 2 * time.Second, Logger: zap.NewNop(), Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}
