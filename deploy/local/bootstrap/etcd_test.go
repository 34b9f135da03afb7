package bootstrap_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// etcd starts the three members and gives their endpoints.
func (s *stage) etcd(t *testing.T) []string {
	t.Helper()
	program := find(t, servers.Etcd)
	var endpoints []string
	for _, r := range layout.Regions {
		dir := s.layout.ComponentDir(r, "etcd")
		e := deploy.Etcd{
			Name: string(r), DataDir: dir + "/data", Client: s.layout.Addressing.Addr(r, layout.PortEtcd), Peer: s.layout.Addressing.Addr(r, layout.PortEtcdPeer),
			ClientTLS: s.serverTLS(r, "etcd"), LogLevel: "error",
		}
		e.PeerTLS = deploy.TLSFiles{Cert: s.layout.IdentityDir(r, "etcd") + "/peer.crt", Key: s.layout.IdentityDir(r, "etcd") + "/peer.key", CA: e.ClientTLS.CA}
		for _, member := range layout.Regions {
			e.Members = append(e.Members, deploy.EtcdMember{Name: string(member), Peer: s.layout.Addressing.Addr(member, layout.PortEtcdPeer)})
			e.PeerNames = append(e.PeerNames, "etcd."+string(member))
		}
		start(t, exec.Command(program, "--config-file", s.write(t, dir+"/etcd.conf.yml", e.Render)))
		endpoints = append(endpoints, "https://"+e.Client)
	}
	return endpoints
}

func (s *stage) etcdClient(t *testing.T, endpoints []string, dir string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: s.clientTLS(t, dir), DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestEtcdGivesEachServiceItsKeysAndNoOthers(t *testing.T) {
	s := newStage(t)
	endpoints := s.etcd(t)
	for range 2 { // the second time authorisation is on
		eventually(t, "etcd", func(ctx context.Context) error { return bootstrap.Etcd(ctx, endpoints, s.tls) })
	}
	const fail, act, req, cred, rotator, depl, lock, out = "/ofitec/failover/state", "/ofitec/active", "/ofitec/failover/requests/1", "/ofitec/credentials/odoo-app", "/ofitec/rotator/leader", "/ofitec/deployments/a/odoo-app", "/ofitec/deployer/a/leader", "/ofitec/outbox/"
	all := []string{fail, act, req, cred, rotator, depl, lock, "/ofitec/deployments/b/odoo-app", "/ofitec/deployer/b/leader", out + "failover-arbiter/1", out + "rotator/1", out + "deployer/1", "/other"}
	watching := fail + " " + act + " " + req
	for _, c := range []struct {
		service        string
		region         layout.Region
		reads, writes_ string
	}{
		{"failover-arbiter", layout.C, "", watching + " " + out + "failover-arbiter/1"},
		{"rotator", layout.A, watching + " " + depl + " /ofitec/deployments/b/odoo-app", cred + " " + rotator + " " + out + "rotator/1"},
		{"deployer", layout.A, watching + " " + cred, depl + " " + lock + " " + out + "deployer/1"},
		{"health-probe", layout.C, watching, ""},
		{"etl-ingest", layout.B, watching, ""},
		{"etl-transform", layout.A, watching, ""},
		{"console", "", strings.Join(all[:len(all)-1], " "), req},
	} {
		dir := s.layout.IdentityDir(c.region, c.service)
		if c.region == "" {
			dir = s.layout.OutsideIdentityDir(c.service)
		}
		client := s.etcdClient(t, endpoints, dir)
		for _, key := range all {
			mayWrite := contains(c.writes_, key)
			_, err := client.Put(t.Context(), key, "x")
			judge(t, c.service+" writes "+key, mayWrite, err)
			_, err = client.Get(t.Context(), key)
			judge(t, c.service+" reads "+key, mayWrite || contains(c.reads, key), err)
			_, err = client.Delete(t.Context(), key)
			judge(t, c.service+" deletes "+key, mayWrite, err)
		}
		_, err := client.Get(t.Context(), "/", clientv3.WithPrefix())
		judge(t, c.service+" reads everything", false, err)
		_, err = client.UserAdd(t.Context(), "mallory", "x")
		judge(t, c.service+" adds a user", false, err)
		_, err = client.AuthDisable(t.Context())
		judge(t, c.service+" switches authorisation off", false, err)
	}
}

func TestEtcdServesNobodyWithoutAUsersCertificate(t *testing.T) {
	s := newStage(t)
	endpoints := s.etcd(t)
	eventually(t, "etcd", func(ctx context.Context) error { return bootstrap.Etcd(ctx, endpoints, s.tls) })
	for _, dir := range []string{s.layout.IdentityDir(layout.A, "etcd"), s.layout.IdentityDir(layout.A, "odoo")} {
		client := s.etcdClient(t, endpoints, dir)
		if _, err := client.Get(t.Context(), "/ofitec/active"); err == nil {
			t.Errorf("the certificate of %s reads", dir)
		}
	}
	bare := s.tls.Clone()
	bare.Certificates = nil
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: bare, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := client.Get(ctx, "/ofitec/active"); err == nil {
		t.Error("somebody without a certificate reads")
	}
}

func TestEtcdTakesBackWhatARoleHasTooMuch(t *testing.T) {
	s := newStage(t)
	endpoints := s.etcd(t)
	eventually(t, "etcd", func(ctx context.Context) error { return bootstrap.Etcd(ctx, endpoints, s.tls) })
	root := s.etcdClient(t, endpoints, s.layout.OperatorIdentityDir())
	if _, err := root.RoleGrantPermission(t.Context(), "health-probe.a", "/", "0", clientv3.PermissionType(clientv3.PermReadWrite)); err != nil {
		t.Fatal(err)
	}
	if _, err := root.UserGrantRole(t.Context(), "health-probe.b", "root"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "etcd", func(ctx context.Context) error { return bootstrap.Etcd(ctx, endpoints, s.tls) })
	for _, r := range layout.DataRegions {
		probe := s.etcdClient(t, endpoints, s.layout.IdentityDir(r, "health-probe"))
		_, err := probe.Put(t.Context(), "/ofitec/active", "B")
		judge(t, "health-probe writes", false, err)
	}
}

func contains(list, key string) bool {
	for _, one := range strings.Fields(list) {
		if one == key {
			return true
		}
	}
	return false
}

func judge(t *testing.T, what string, allowed bool, err error) {
	t.Helper()
	if allowed && err != nil {
		t.Errorf("%s: refused: %v", what, err)
	}
	if !allowed && !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("%s: want a refusal, got %v", what, err)
	}
}
