package etcd_test

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
)

// as connects under the identity of a certificate.
func as(t *testing.T, a *chassistest.Authority, name, endpoint string) *etcd.Client {
	t.Helper()
	settings := chassis.NewSettings()
	settings.Etcd.Endpoints = []string{endpoint}
	settings.TLS.Cert, settings.TLS.Key, settings.TLS.CA = a.Issue(t, t.TempDir(), name)
	client, err := etcd.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestTheCertificateIsTheUserAndTheRoleSaysWhatItMayDo(t *testing.T) {
	a := chassistest.NewAuthority(t)
	cert, key, ca := a.Issue(t, t.TempDir(), "")
	endpoint := etcdtest.StartTLS(t, cert, key, ca)
	root, rotator := as(t, a, "root", endpoint), as(t, a, "rotator.a", endpoint)
	ctx := within(t, 30*time.Second)
	for _, grant := range []func() error{
		func() error {
			_, err := root.UserAddWithOptions(ctx, "root", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "rotator"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "rotator", "/ofitec/rotator/", clientv3.GetPrefixRangeEnd("/ofitec/rotator/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error {
			_, err := root.UserAddWithOptions(ctx, "rotator.a", "", &clientv3.UserAddOptions{NoPassword: true})
			return err
		},
		func() error { _, err := root.UserGrantRole(ctx, "rotator.a", "rotator"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := grant(); err != nil {
			t.Fatal(err)
		}
	}
	if err := rotator.Check(ctx); err != nil {
		t.Errorf("readiness needs no permission: %v", err)
	}
	if _, err := rotator.Put(ctx, "/ofitec/active", "B"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
		t.Errorf("a write outside the role: %v", err)
	}
	leader, err := rotator.Campaign(ctx, etcd.Election{Key: "/ofitec/rotator/leader", Candidate: "rotator.a", TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	leader.Resign()
	if found, err := rotator.Get(ctx, "/ofitec/rotator/leader"); err != nil || len(found.Kvs) != 0 {
		t.Errorf("after resigning the key is %v, %v", found, err)
	}
}
