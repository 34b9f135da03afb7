package main

import (
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

func TestItBehavesLikeEveryService(t *testing.T) {
	chassistest.Conduct(t, name, "ETCD_ENDPOINTS="+etcdtest.Start(t))
}

func TestItIsNotReadyWithoutEtcd(t *testing.T) {
	p := chassistest.Start(t, "NATS_URL="+chassistest.NATS(t), "ETCD="+chassistest.FreeAddr(t))
	if body := p.Await(t, "/readyz", 503); !strings.Contains(body, `"etcd"`) {
		t.Errorf("readyz says %s", body)
	}
	if status, _ := p.Get("/healthz"); status != 200 {
		t.Errorf("healthz answers %d", status)
	}
	if status := p.Terminate(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
