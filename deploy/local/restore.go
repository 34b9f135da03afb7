package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
)

// How long the steps of a restore may take before it is given up; it can be asked for again.
const (
	restoreServer   = 2 * time.Minute
	restoreDatabase = 15 * time.Minute
	restoreRegion   = 5 * time.Minute
	restoreGates    = time.Minute
)

// restoring brings back the regions that are asked for, until ctx ends.
func (s *Stack) restoring(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.restores:
			err := s.restore(ctx, r)
			s.mu.Lock()
			if err == nil {
				delete(s.lost, r)
			}
			s.mu.Unlock()
			if err != nil {
				s.setLoss(r, func(l *control.Loss) { l.Restoring, l.Failed = "", err.Error() })
				s.terminal.say("region %s is not restored: %v", r, err)
				continue
			}
			s.terminal.say("region %s is back", r)
		}
	}
}

// restore brings a region back: its votes first, then its part of the bus, then what carries the business. The database becomes a standby
// by its arbiter, which knows from the state where the timelines parted.
func (s *Stack) restore(ctx context.Context, r layout.Region) error {
	s.mu.Lock()
	cut := s.lost[r].BlackHole
	s.mu.Unlock()
	steps := []struct {
		name   string
		within time.Duration
		run    func(ctx context.Context, r layout.Region) error
	}{
		{"network", shortAttempt, func(ctx context.Context, r layout.Region) error {
			if !cut {
				return nil
			}
			return netns.Join(ctx, r)
		}},
		{"etcd member", restoreServer, s.restoreEtcd},
		{"NATS server", restoreServer, s.restoreNATS},
		{"components", restoreServer, s.restoreComponents},
		{"database", restoreDatabase, s.restoreDatabase},
		{"readiness", restoreRegion, s.awaitRegion},
		{"vote in Vault", restoreServer, s.awaitVote},
		{"gates", restoreGates + shortAttempt, s.awaitGates},
	}
	for _, step := range steps {
		s.setLoss(r, func(l *control.Loss) { l.Restoring = step.name })
		s.terminal.say("restoring region %s: %s", r, step.name)
		limited, cancel := context.WithTimeout(ctx, step.within)
		err := step.run(limited, r)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

// hasMember says whether a region's etcd member has its data.
func (s *Stack) hasMember(r layout.Region) bool {
	_, err := os.Stat(filepath.Join(s.layout.ComponentDir(r, "etcd"), "data", "member"))
	return err == nil
}

// lostMembers are the regions whose member has lost its data since the cluster was made. Of two or more there is no majority left that could take them in again.
func (s *Stack) lostMembers() ([]layout.Region, error) {
	if !s.folder.stamp.PostgresMade {
		return nil, nil // the first start makes the cluster
	}
	var lost []layout.Region
	for _, r := range layout.Regions {
		if !s.hasMember(r) {
			lost = append(lost, r)
		}
	}
	if len(lost) > 1 {
		return nil, fmt.Errorf("data folder %s: the etcd members of regions %v have lost their data, and with them the majority that decides who may write; restore their folders from a backup", s.layout.Root, lost)
	}
	return lost, nil
}

func (s *Stack) restoreEtcd(ctx context.Context, r layout.Region) error {
	if !s.hasMember(r) {
		if err := s.retry(ctx, "etcd member of region "+string(r), 2*shortAttempt, func(ctx context.Context) error { return s.replaceMember(ctx, r) }); err != nil {
			return err
		}
	}
	return s.startAndAwait(ctx, string(r)+"/etcd")
}

// replaceMember lets the others forget a member whose data are gone, and expect it anew. A new one that has not started yet is kept, so that the step can be repeated.
func (s *Stack) replaceMember(ctx context.Context, r layout.Region) error {
	client, err := s.etcdClient(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	list, err := client.MemberList(ctx)
	if err != nil {
		return fmt.Errorf("list etcd members: %w", err)
	}
	peer := "https://" + s.layout.Addressing.Addr(r, layout.PortEtcdPeer)
	expected := false
	for _, member := range list.Members {
		switch {
		case isExpected(member, peer):
			expected = true
		case member.Name == string(r) || slices.Contains(member.PeerURLs, peer):
			if _, err := client.MemberRemove(ctx, member.ID); err != nil {
				return fmt.Errorf("remove etcd member %s: %w", r, err)
			}
		}
	}
	if expected {
		return nil
	}
	if _, err := client.MemberAdd(ctx, []string{peer}); err != nil {
		return fmt.Errorf("add etcd member %s: %w", r, err)
	}
	return nil
}

// isExpected says whether a member was added and has never started: it has no name yet.
func isExpected(member *etcdserverpb.Member, peer string) bool {
	return member.Name == "" && slices.Contains(member.PeerURLs, peer)
}

func (s *Stack) restoreNATS(ctx context.Context, r layout.Region) error {
	return s.startAndAwait(ctx, string(r)+"/nats")
}

// restoreComponents starts all the rest. What stands outside the database's own folder is made anew, and it boots fenced.
func (s *Stack) restoreComponents(_ context.Context, r layout.Region) error {
	if r.HoldsData() {
		if err := makeDir(s.layout.ComponentDir(r, "postgres"), 0o700, s.owners.of("postgres")); err != nil {
			return err
		}
		if err := errors.Join(s.configurePostgres(r), s.fence(r)); err != nil {
			return err
		}
	}
	s.supervisor.StartRegion(string(r))
	return nil
}

// restoreDatabase waits until the region's database is what the state says. One that has lost its data is copied by the region's arbiter, and by nobody else:
// two copies into one folder would be one too many.
func (s *Stack) restoreDatabase(ctx context.Context, r layout.Region) error {
	if !r.HoldsData() {
		return nil
	}
	failover, err := s.failover(ctx, "")
	if err != nil {
		return err
	}
	owner := layout.Region(failover.Active)
	if owner == r {
		if !s.hasCluster(r) {
			return fmt.Errorf("region %s owns the mandate and its data are gone: let the other one take over first, with ofitec failover override --to %s", r, r.Peer())
		}
		return s.await(ctx, string(r)+"/postgres")
	}
	return s.awaitStreaming(ctx, r)
}

// awaitStreaming waits until a region's database is a standby that receives the other one's WAL.
func (s *Stack) awaitStreaming(ctx context.Context, r layout.Region) error {
	for {
		err := s.streams(ctx, r)
		if err == nil {
			return nil
		}
		s.setLoss(r, func(l *control.Loss) { l.Restoring = "database: " + err.Error() })
		select {
		case <-ctx.Done():
			return fmt.Errorf("not a standby that streams: %w", err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *Stack) streams(ctx context.Context, r layout.Region) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := os.Stat(filepath.Join(s.layout.ComponentDir(r, "postgres"), rejoinMarker)); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("its arbiter copies it from the other region")
	}
	conn, err := superuser(ctx, s.layout.PostgresSocketDir(r), "postgres")
	if err != nil {
		return errors.New("it does not run yet")
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var recovery, streaming bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')`).Scan(&recovery, &streaming); err != nil {
		return errors.New("it does not answer yet")
	}
	switch {
	case !recovery:
		return errors.New("it is still the old primary, fenced")
	case !streaming:
		return errors.New("it does not receive yet")
	}
	return nil
}

// awaitRegion waits for all components of a region.
func (s *Stack) awaitRegion(ctx context.Context, r layout.Region) error {
	out := s.leftOut()
	if len(out) > 0 {
		s.terminal.say("this stack runs without Vault: %s of region %s are not waited for", strings.Join(out, " and "), r)
	}
	for {
		var waiting []string
		why := ""
		for _, status := range s.supervisor.Statuses() {
			if status.Region == string(r) && !status.Ready && !slices.Contains(out, status.Name) {
				waiting, why = append(waiting, status.Name), status.Reason
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		s.setLoss(r, func(l *control.Loss) { l.Restoring = "readiness: waiting for " + strings.Join(waiting, ", ") })
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %s (%s)", strings.Join(waiting, ", "), why)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// awaitVote waits until Vault would survive the loss of another region again.
func (s *Stack) awaitVote(ctx context.Context, r layout.Region) error {
	if s.options.WithoutVault {
		return nil
	}
	return s.retry(ctx, "vault's node of region "+string(r), shortAttempt, s.vaultWhole)
}

// leftOut are the components that can never be ready in this stack: they need Vault.
func (s *Stack) leftOut() []string {
	if s.options.WithoutVault {
		return []string{"rotator", "deployer"}
	}
	return nil
}

// awaitGates waits until the region could take over: its gates have values again and are green. A region that is back and not fit yet is back all the same.
func (s *Stack) awaitGates(ctx context.Context, r layout.Region) error {
	if !r.HoldsData() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, restoreGates)
	defer cancel()
	query := s.url(r, layout.PortPrometheus, "/api/v1/query?query="+url.QueryEscape("gate:healthy == 1"))
	for !gateIsGreen(limited, query) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			s.terminal.say("region %s is back, but its gates are not green yet: it cannot take over", r)
			return nil
		case <-time.After(time.Second):
		}
	}
	return nil
}

// gateIsGreen says whether a query of Prometheus has a result.
func gateIsGreen(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	response, err := plainClient().Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Data struct{ Result []json.RawMessage }
	}
	return json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer) == nil && len(answer.Data.Result) == 1
}

func (s *Stack) startAndAwait(ctx context.Context, id string) error {
	if err := s.supervisor.Start(id); err != nil {
		return err
	}
	return s.await(ctx, id)
}
