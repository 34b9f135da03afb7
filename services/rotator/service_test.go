package main

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
)

// TestMain lets a test end the service between what it does and what it records, as kill -9 would, or hold it there until a file exists.
func TestMain(m *testing.M) {
	flag.Parse()
	if given := flag.Lookup("test.parallel"); given.Value.String() == given.DefValue {
		_ = given.Value.Set("3") // rotations wait more than they work
	}
	chassistest.Main(m, func() {
		if point, file, ok := strings.Cut(os.Getenv("OFITEC_TEST_HOLD_AT"), "="); ok {
			passed = func(at string) {
				for at == point {
					if _, err := os.Stat(file); err == nil {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		}
		if point := os.Getenv("OFITEC_TEST_DIE_AT"); point != "" {
			passed = func(at string) {
				if at == point {
					_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // nothing runs after it
					select {}
				}
			}
		}
		main()
	})
}

// frontDoor is a Vault that knows a token and nothing else, for tests of the process; the credential's own tests run a real one.
func frontDoor(t *testing.T) []string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/auth/token/lookup-self" {
			http.Error(w, `{"errors":["not here"]}`, http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"data":{"ttl":3600}}`))
	}))
	t.Cleanup(server.Close)
	return []string{"VAULT_ADDR=" + server.URL, "OFITEC_VAULT_TOKEN=t", "OFITEC_DATABASE_PROXIES=" + chassistest.FreeAddr(t)}
}

func TestItBehavesLikeEveryService(t *testing.T) {
	chassistest.Conduct(t, name, append(frontDoor(t), "ETCD_ENDPOINTS="+etcdtest.Start(t))...)
}

func TestItIsNotReadyWithoutEtcd(t *testing.T) {
	p := chassistest.Start(t, append(frontDoor(t), "NATS_URL="+chassistest.NATS(t), "ETCD="+chassistest.FreeAddr(t))...)
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

func TestAWrongScheduleAndAMissingDatabaseAreNamedTogether(t *testing.T) {
	status, _, complaints := chassistest.Run(t, nil, "OFITEC_REGION=c", "NATS_URL=nats://127.0.0.1:4222", "ETCD_ENDPOINTS=127.0.0.1:2379",
		"OFITEC_ROTATE_AT=1.5", "OFITEC_DRAIN_GRACE=0s", "OFITEC_DATABASE_READ_PROXIES=nowhere")
	if status != 2 {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{`OFITEC_REGION="c"`, "VAULT_ADDR", "OFITEC_DATABASE_PROXIES", `OFITEC_ROTATE_AT="1.5"`, `OFITEC_DRAIN_GRACE="0s"`, `OFITEC_DATABASE_READ_PROXIES="nowhere"`} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no %s in %q", want, complaints)
		}
	}
}
