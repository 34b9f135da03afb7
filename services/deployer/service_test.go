package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
)

// TestMain lets the test's binary be the deployer, a deployer that is killed somewhere, or an Odoo.
func TestMain(m *testing.M) {
	if address := os.Getenv("DEPLOYER_TEST_ODOO"); address != "" {
		serveOdoo(address, os.Getenv("DEPLOYER_TEST_ENV"), os.Getenv("DEPLOYER_TEST_DIR"))
		return
	}
	if point := os.Getenv("DEPLOYER_TEST_KILL_AT"); point != "" {
		failPoint = func(here string) {
			if here == point {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal is there
			}
		}
	}
	flag.Parse()
	if given := flag.Lookup("test.parallel"); given.Value.String() == given.DefValue {
		_ = given.Value.Set("6") // rollouts wait more than they work
	}
	chassistest.Main(m, main)
}

// surroundings are a Vault that knows a token, a Prometheus that knows nothing and a proxy that shows blue with traffic, for tests of the process; the rollout's own
// tests run real ones.
func surroundings(t *testing.T) []string {
	t.Helper()
	serve := func(path, answer string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				http.Error(w, `{"errors":["not here"]}`, http.StatusForbidden)
				return
			}
			_, _ = w.Write([]byte(answer))
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	dir, err := os.MkdirTemp("", "of") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(connection).ReadString('\n')
			fmt.Fprint(connection, "# pxname,svname,status,weight,scur,qcur\nodoo,blue,UP,100,0,0\nodoo,green,UP,0,0,0\n\n")
			connection.Close()
		}
	}()
	return []string{
		"VAULT_ADDR=" + serve("/v1/auth/token/lookup-self", `{"data":{"ttl":3600}}`), "OFITEC_VAULT_TOKEN=t",
		"OFITEC_PROMETHEUS_URL=" + serve("/api/v1/query", `{"status":"success","data":{"resultType":"vector","result":[]}}`),
		"OFITEC_WEB_PROXY_SOCKET=" + socket, "OFITEC_ACTIVE_COLOUR_FILE=" + filepath.Join(dir, "active"),
		"OFITEC_ODOO_BLUE_URL=http://" + chassistest.FreeAddr(t), "OFITEC_ODOO_GREEN_URL=http://" + chassistest.FreeAddr(t),
		"OFITEC_ODOO_SUPERVISOR_SOCKET=" + filepath.Join(dir, "none"),
	}
}

func TestItBehavesLikeEveryService(t *testing.T) {
	chassistest.Conduct(t, name, append(surroundings(t), "ETCD_ENDPOINTS="+etcdtest.Start(t))...)
}

func TestItIsNotReadyWithoutEtcd(t *testing.T) {
	p := chassistest.Start(t, append(surroundings(t), "NATS_URL="+chassistest.NATS(t), "ETCD="+chassistest.FreeAddr(t))...)
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

func TestWhatIsMissingAndWhatContradictsItselfIsNamedTogether(t *testing.T) {
	status, _, complaints := chassistest.Run(t, nil, "OFITEC_REGION=c", "NATS_URL=nats://127.0.0.1:4222", "ETCD_ENDPOINTS=127.0.0.1:2379", "VAULT_ADDR=http://127.0.0.1:8200",
		"OFITEC_GATE_WINDOW=1m", "OFITEC_GATE_ERROR_RATE=2", "OFITEC_GATE_FAILURES=0", "OFITEC_ODOO_BLUE_URL=nowhere")
	if status != 2 {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{
		`OFITEC_REGION="c"`, `OFITEC_GATE_ERROR_RATE="2"`, `OFITEC_GATE_FAILURES="0"`, `OFITEC_ODOO_BLUE_URL="nowhere"`, "OFITEC_ODOO_GREEN_URL", "OFITEC_PROMETHEUS_URL",
		"OFITEC_WEB_PROXY_SOCKET", "OFITEC_ACTIVE_COLOUR_FILE", "OFITEC_ODOO_BLUE_ENV_FILE", "OFITEC_START_COMMAND",
	} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no %s in %q", want, complaints)
		}
	}
	for _, c := range []struct {
		env  []string
		want string
	}{
		{[]string{"OFITEC_WEB_PROXY=nginx"}, `OFITEC_WEB_PROXY="nginx": want haproxy, traefik or command`},
		{[]string{"OFITEC_WEB_PROXY=traefik", "OFITEC_TRAEFIK_COLOUR_SERVICE=odoo", "OFITEC_TRAEFIK_API_URL=there"}, "OFITEC_TRAEFIK_FILE"},
		{[]string{"OFITEC_WEB_PROXY=traefik", "OFITEC_TRAEFIK_COLOUR_SERVICE=odoo"}, `OFITEC_TRAEFIK_COLOUR_SERVICE="odoo"`},
		{[]string{"OFITEC_WEB_PROXY=traefik", "OFITEC_TRAEFIK_API_URL=there"}, `OFITEC_TRAEFIK_API_URL="there"`},
		{[]string{"OFITEC_WEB_PROXY=command"}, "OFITEC_SWITCH_COMMAND"},
		{[]string{"OFITEC_WEB_PROXY=command", "OFITEC_SWITCH_COMMAND=true", "OFITEC_SWITCH_STEPS=10,100"}, `OFITEC_SWITCH_STEPS="10,100": want 100 alone`},
		{[]string{"OFITEC_SWITCH_STEPS=10,50"}, `OFITEC_SWITCH_STEPS="10,50"`},
		{[]string{"OFITEC_SWITCH_STEPS=0,100"}, `OFITEC_SWITCH_STEPS="0,100"`},
		{[]string{"OFITEC_SWITCH_STEPS=50,10,100"}, `OFITEC_SWITCH_STEPS="50,10,100"`},
		{[]string{"OFITEC_SWITCH_STEPS=50,50,100"}, `OFITEC_SWITCH_STEPS="50,50,100"`},
		{[]string{"OFITEC_GATE_STEP_WINDOW=1m"}, `OFITEC_GATE_STEP_WINDOW="1m0s"`},
	} {
		if _, _, complaints = chassistest.Run(t, nil, c.env...); !strings.Contains(complaints, c.want) {
			t.Errorf("%v: no %s in %q", c.env, c.want, complaints)
		}
	}
	_, _, complaints = chassistest.Run(t, nil, "OFITEC_GATE_WINDOW=1m")
	if !strings.Contains(complaints, `OFITEC_GATE_WINDOW="1m0s"`) {
		t.Errorf("a window that could not see a failure is taken: %q", complaints)
	}
}

func TestTheRendererTakesWhatIsChangedFromItsInputAndShowsNothingOfIt(t *testing.T) {
	dir := t.TempDir()
	green, blue := filepath.Join(dir, "green"), filepath.Join(dir, "blue")
	for _, file := range []string{green, blue} {
		if err := os.WriteFile(file, []byte("POSTGRES_USER=old\nPOSTGRES_PASSWORD=old\nMASTER=m\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := render([]string{"--env", green, "--keys", "POSTGRES_USER,POSTGRES_PASSWORD,MASTER"}, strings.NewReader(`{"set":{"POSTGRES_USER":"v-1","POSTGRES_PASSWORD":"w 1","MASTER":"n"}}`)); err != nil {
		t.Fatal(err)
	}
	if err := render([]string{"--env", blue, "--like", green}, strings.NewReader(`{"take":["POSTGRES_USER"],"take_if_there":["POSTGRES_PASSWORD"]}`)); err != nil {
		t.Fatal(err)
	}
	if content, _ := os.ReadFile(blue); string(content) != "POSTGRES_USER=v-1\nPOSTGRES_PASSWORD='w 1'\nMASTER=m\n" {
		t.Errorf("blue holds %q", content)
	}
	for input, want := range map[string]string{
		`{"set":{"POSTGRES_USER":"v-1","POSTGRES_PASSWORD":7}, "secret`: "no JSON object",
		`{"POSTGRES_USER":"secret"}`:                                    "no JSON object",
		`{}`:                                                            "names no key: want one or more of POSTGRES_PASSWORD, POSTGRES_USER",
		`{"take":["POSTGRES_USER"]}`:                                    "want --like FILE",
		`{"set":{"POSTGRES_USER":"secret","MASTER":"secret"}}`: `has the key "MASTER": want those of --keys, POSTGRES_PASSWORD, POSTGRES_USER`,
		`{"set":{"POSTGRES_USER":"secret\nPATH=/tmp"}}`:        "cannot hold the new POSTGRES_USER",
	} {
		if err := render([]string{"--env", green}, strings.NewReader(input)); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", input, err)
		}
	}
	if status, _, said := chassistest.Run(t, []string{"render", "--env", filepath.Join(dir, "none")}); status != 2 || !strings.Contains(said, "the standard input is no JSON object") {
		t.Errorf("no input: status %d, %q", status, said)
	}
}

func TestWhatIsWrongWithTheListOfCredentialsIsNamedWithWhatWouldBeRight(t *testing.T) {
	file := filepath.Join(t.TempDir(), "deployer.yaml")
	for content, want := range map[string]string{
		"{name: a b}":                                                         `credentials[0].name="a b": want a name such as odoo-app`,
		"{name: odoo-app}, {name: odoo-app}":                                  `credentials[1].name="odoo-app"`,
		"{name: x, kind: vault-root}":                                         `credentials[0].kind="vault-root": want one of database, kv, sts`,
		"{name: x, kind: kv}":                                                 `credentials[0].keys is not set: want KEY: field`,
		"{name: x, kind: kv, keys: {X: username}}":                            `credentials[0].keys.X="username": want a field of kind kv: value`,
		"{name: x, kind: sts, keys: {X: token}}":                              `credentials[0].keys.X="token": want a field of kind sts: access_key_id, secret_access_key, session_token, expiration`,
		"{name: x, kind: kv, keys: {X-Y: value}}":                             `credentials[0].keys="X-Y": want a key such as`,
		"{name: odoo-app}, {name: x, kind: kv, keys: {POSTGRES_USER: value}}": `credentials[1].keys="POSTGRES_USER": want a key that is not odoo-app's as well`,
	} {
		if err := os.WriteFile(file, []byte("credentials: ["+content+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, _, complaints := chassistest.Run(t, nil, "OFITEC_CONFIG="+file); status != 2 || !strings.Contains(complaints, want) {
			t.Errorf("%s: status %d, no %s in %q", content, status, want, complaints)
		}
	}
	if _, _, complaints := chassistest.Run(t, nil, "OFITEC_CONFIG="+file, "OFITEC_CREDENTIAL=other"); !strings.Contains(complaints, `OFITEC_CREDENTIAL="other": want nothing`) {
		t.Errorf("a name beside the list: %q", complaints)
	}
}
