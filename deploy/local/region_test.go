package local

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// regionStack is a stack without servers: sleeping processes stand where a region's components would.
func regionStack(t *testing.T) *Stack {
	t.Helper()
	root := t.TempDir()
	s := &Stack{
		layout: layout.Layout{Root: root, Addressing: layout.Loopback()}, terminal: newTerminal(&bytes.Buffer{}), folder: &folder{},
		pending: map[string]bool{}, lost: map[layout.Region]control.Loss{}, restores: make(chan layout.Region, 3),
	}
	s.supervisor = supervise.New(nil)
	t.Cleanup(func() { s.supervisor.Close() })
	for _, unit := range []struct{ region, name string }{{"a", "nats"}, {"a", "etcd"}, {"b", "nats"}} {
		if err := s.supervisor.Add(supervise.Spec{Name: unit.name, Region: unit.region, Path: "/bin/sleep", Args: []string{"1000"}}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); !s.Status().Ready; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the processes do not start")
		}
	}
	for _, path := range []string{"a/etcd/data/member/wal", "a/nats/jetstream", "a/identity/nats", "a/log", "b/etcd/data/member"} {
		if err := os.MkdirAll(filepath.Join(root, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestALostRegionStaysDownUntilItIsRestored(t *testing.T) {
	s := regionStack(t)
	loss, err := s.LoseRegion(t.Context(), "a", control.LossRequest{})
	if err != nil || loss.Units != 2 || loss.Dead.Before(loss.At) {
		t.Fatalf("lost %+v, %v", loss, err)
	}
	for _, component := range s.Status().Components {
		if running := component.PID != 0; running != (component.Region == "b") {
			t.Errorf("%s/%s has process %d", component.Region, component.Name, component.PID)
		}
	}
	if err := s.StartUnit("a/etcd"); err == nil || !strings.Contains(err.Error(), "ofitec drill restore a") {
		t.Errorf("a start in a lost region says %v", err)
	}
	if err := s.StartUnit("b/nats"); err != nil {
		t.Errorf("a start in another region: %v", err)
	}
	if _, err := s.LoseRegion(t.Context(), "a", control.LossRequest{}); err == nil {
		t.Error("a lost region was lost again")
	}
	if _, lost := s.Status().Lost["a"]; !lost {
		t.Error("the status does not tell")
	}
	if err := s.RestoreRegion("b"); err == nil || !strings.Contains(err.Error(), "not lost") {
		t.Errorf("restoring a region that is there says %v", err)
	}
	if err := s.RestoreRegion("a"); err != nil {
		t.Fatal(err)
	}
	if err := s.RestoreRegion("a"); err == nil {
		t.Error("it is restored twice at once")
	}
	if err := s.StartUnit("a/etcd"); err != nil {
		t.Errorf("a start while it is restored: %v", err) // its arbiter starts the database
	}
}

func TestADestroyedRegionKeepsItsIdentityAndItsLogsOnly(t *testing.T) {
	s := regionStack(t)
	s.folder.stamp.PostgresMade = true
	if err := os.MkdirAll(filepath.Join(s.layout.Root, "c/etcd/data/member"), 0o755); err != nil {
		t.Fatal(err)
	}
	if lost, err := s.lostMembers(); err != nil || len(lost) != 0 {
		t.Fatalf("lost members before: %v, %v", lost, err)
	}
	if _, err := s.LoseRegion(t.Context(), "a", control.LossRequest{Destroy: true}); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, _ := os.ReadDir(s.layout.RegionDir("a"))
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if !slices.Equal(left, []string{"identity", "log"}) {
		t.Errorf("left are %v", left)
	}
	if lost, err := s.lostMembers(); err != nil || !slices.Equal(lost, []layout.Region{"a"}) {
		t.Errorf("lost members are %v, %v", lost, err)
	}
	if err := destroyRegion(s.layout.RegionDir("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.lostMembers(); err == nil || !strings.Contains(err.Error(), "majority") {
		t.Errorf("two lost members are %v", err)
	}
}

func TestWhatCannotBeLostIsRefusedWithTheReason(t *testing.T) {
	s := regionStack(t)
	for _, c := range []struct {
		region string
		how    control.LossRequest
		says   string
	}{
		{"d", control.LossRequest{}, "must be a, b or c"},
		{"a", control.LossRequest{BlackHole: true}, "up --netns"},
	} {
		if _, err := s.LoseRegion(t.Context(), c.region, c.how); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("losing %s %+v says %v", c.region, c.how, err)
		}
	}
	if len(s.Status().Lost) != 0 || !s.Status().Ready {
		t.Error("a refusal did harm")
	}
}

func TestOnlyAnExpectedMemberIsKept(t *testing.T) {
	const peer = "https://127.0.0.11:2380"
	for _, c := range []struct {
		member *etcdserverpb.Member
		want   bool
	}{
		{&etcdserverpb.Member{PeerURLs: []string{peer}}, true},
		{&etcdserverpb.Member{Name: "a", PeerURLs: []string{peer}}, false},
		{&etcdserverpb.Member{PeerURLs: []string{"https://127.0.0.12:2380"}}, false},
	} {
		if got := isExpected(c.member, peer); got != c.want {
			t.Errorf("%v: %v", c.member.PeerURLs, got)
		}
	}
}
