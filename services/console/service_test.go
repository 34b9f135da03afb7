package main

import (
	"encoding/json"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

func TestItBehavesLikeEveryService(t *testing.T) { chassistest.Conduct(t, name) }

func TestItSaysWhichBuildItIsAndWhereItIsConnected(t *testing.T) {
	addr := chassistest.FreeAddr(t)
	p := chassistest.Start(t, "NATS_URL=nats://"+addr)
	if before := askVersion(t, p); before.Service != name || before.Build.Version == "" || before.Bus.Connected || before.Bus.Server != "" {
		t.Errorf("without a bus %+v", before)
	}
	chassistest.NATSAt(t, addr)
	p.Await(t, "/readyz", 200)
	if after := askVersion(t, p); !after.Bus.Connected || after.Bus.Server != "nats://"+addr {
		t.Errorf("with a bus %+v", after)
	}
}

func askVersion(t *testing.T, p *chassistest.Process) version {
	t.Helper()
	var v version
	if err := json.Unmarshal([]byte(p.Await(t, "/api/version", 200)), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
