package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

// realVault is a development server that knows this service's own policy, and what it has said.
type realVault struct {
	root  *api.Client
	token string // of the policy
	mu    sync.Mutex
	said  bytes.Buffer
}

func (v *realVault) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.said.Write(p)
}

func startVault(t *testing.T) *realVault {
	t.Helper()
	if testing.Short() {
		t.Skip("a real server is started")
	}
	cache := os.Getenv("OFITEC_CACHE")
	if cache == "" {
		cache = "/var/cache/ofitec"
	}
	built, _ := filepath.Glob(filepath.Join(cache, "servers", "vault-*", "vault")) // the pattern is well formed
	if len(built) == 0 {
		t.Skip("vault is not there (ofitec setup brings it)")
	}
	v := &realVault{}
	address := chassistest.FreeAddr(t)
	cmd := exec.Command(built[0], "server", "-dev", "-dev-root-token-id=root", "-dev-no-store-token", "-dev-listen-address="+address)
	cmd.Stdout, cmd.Stderr = v, v
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	settings := api.DefaultConfig()
	settings.Address = "http://" + address
	var err error
	if v.root, err = api.NewClient(settings); err != nil {
		t.Fatal(err)
	}
	v.root.SetToken("root")
	waitFor(t, "Vault", func() bool {
		mounts, err := v.root.Sys().ListMounts()
		return err == nil && mounts["secret/"] != nil
	})
	policy, err := os.ReadFile("../../deploy/vault/policies/etl-transform.hcl")
	if err == nil {
		err = v.root.Sys().PutPolicy("etl-transform", string(policy))
	}
	if err != nil {
		t.Fatal(err)
	}
	made, err := v.root.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"etl-transform"}, TTL: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	v.token = made.Auth.ClientToken
	return v
}

func (v *realVault) unseal(t *testing.T) {
	t.Helper()
	v.mu.Lock()
	key := regexp.MustCompile(`Unseal Key: (\S+)`).FindStringSubmatch(v.said.String())
	v.mu.Unlock()
	if key == nil {
		t.Fatal("Vault has not said its key")
	}
	if _, err := v.root.Sys().Unseal(key[1]); err != nil {
		t.Fatal(err)
	}
}

// next makes a key of one letter the newest version.
func (v *realVault) next(t *testing.T, letter string) *token.Sealer {
	t.Helper()
	key := bytes.Repeat([]byte(letter), token.LeastKey)
	if _, err := v.root.Logical().Write("secret/data/ofitec/etl-transform/token-key", map[string]any{"data": map[string]any{"key": base64.StdEncoding.EncodeToString(key)}}); err != nil {
		t.Fatal(err)
	}
	sealer, err := token.New(key)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// TestTheTokenKeyIsReadFromVaultAndRotatedThereUnderAServiceThatRuns begins beside a sealed Vault, with the rights that the service has.
func TestTheTokenKeyIsReadFromVaultAndRotatedThereUnderAServiceThatRuns(t *testing.T) {
	t.Parallel() // it waits more than it works
	v := startVault(t)
	first := v.next(t, "k")
	if err := v.root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	folder, env := alone(t)
	if err := os.Remove(filepath.Join(folder, "token.key")); err != nil {
		t.Fatal(err)
	}
	url := chassistest.NATS(t)
	env = append(env, "NATS_URL="+url, "OFITEC_TOKEN_KEY_FILE=", "OFITEC_TOKEN_KEY_VAULT_PATH=ofitec/etl-transform/token-key", "VAULT_ADDR="+v.root.Address(), "OFITEC_VAULT_TOKEN="+v.token)
	s := newSource(t, folder, url)
	s.announce("partner", partners)
	p := chassistest.Start(t, env...)
	waitFor(t, "it says what it waits for", func() bool {
		status, body := p.Get("/readyz")
		return status == 503 && strings.Contains(body, "sealed")
	})
	p.Await(t, "/healthz", 200)
	if _, err := os.Stat(filepath.Join(folder, "ofitec.duckdb")); err == nil {
		t.Error("there is a warehouse without a key")
	}
	v.unseal(t)
	waitFor(t, "what was announced meanwhile", func() bool {
		now, _ := readContentsIn(folder)
		return now.Sequence == 1 && now.TokenKey == first.Version()
	})

	second := v.next(t, "l")
	var told rotated
	if err := json.Unmarshal([]byte(must(t, 0, env, "rotate-key", "--reason", "yearly", "-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	if told.From != first.Version() || told.To != second.Version() || !strings.Contains(told.Left, "secret/ofitec/etl-transform/token-key") {
		t.Errorf("it says %+v", told)
	}
	p.Signal(t, syscall.SIGTERM)
	if status := p.AwaitEnd(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	mustBeBy(t, folder, second)
	// Who only reads tokens needs no key.
	if err := v.root.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"check", "plan", "verify"} {
		must(t, 0, env, command)
	}
	for _, letter := range []string{"k", "l"} {
		if strings.Contains(p.Output(), base64.StdEncoding.EncodeToString(bytes.Repeat([]byte(letter), token.LeastKey))) {
			t.Error("a key stands in the log")
		}
	}
}

// TestAFileThatIsOpenedAnewNeedsNoVaultUnlessItIsByAnotherKeyByNow is what comes behind a full disk: no Vault is there.
func TestAFileThatIsOpenedAnewNeedsNoVaultUnlessItIsByAnotherKeyByNow(t *testing.T) {
	folder := t.TempDir()
	configured := func() *Config {
		c := NewConfig()
		c.Warehouse, c.Keys.Token, c.Vault.Addr = folder, "ofitec/etl-transform/token-key", "http://127.0.0.1:1"
		return c
	}
	by := func(letter string) *Config {
		key, err := token.New(bytes.Repeat([]byte(letter), token.LeastKey))
		if err != nil {
			t.Fatal(err)
		}
		c := configured()
		c.ring, c.fetched = token.Versions(key, nil), true
		return c
	}
	open := func(c *Config) error {
		w, err := c.openWarehouse(t.Context(), discarding)
		if err != nil {
			return err
		}
		return w.Close()
	}
	first := by("k")
	again := configured()
	again.keepKeys(first)
	if known, err := again.awaitKeys(t.Context()); !known || err != nil {
		t.Fatal(known, err)
	}
	if err := errors.Join(open(first), open(again), open(by("l"))); err != nil { // the last one makes another file
		t.Fatal(err)
	}
	if err := open(again); !errors.Is(err, errOtherKeys) {
		t.Errorf("a file by another key is opened with those of before: %v", err)
	}
	if aside, _ := filepath.Glob(again.file() + ".[0-9]*Z"); len(aside) != 1 {
		t.Errorf("put aside: %v", aside)
	}
	other := configured()
	other.Keys.Token = "ofitec/etl-transform/another"
	if other.keepKeys(first); other.fetched {
		t.Error("keys of another path are kept")
	}
}

func TestAKeyInVaultAndInAFileIsRefused(t *testing.T) {
	c := NewConfig()
	c.withoutBus, c.Warehouse, c.TokenKeyFile = true, t.TempDir(), "key"
	c.Keys.Token, c.Keys.Raw = "secret/data/x", "ofitec/etl-transform/raw-key"
	var said []string
	for _, problem := range c.Problems() {
		said = append(said, problem.Error())
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"VAULT_ADDR", `OFITEC_TOKEN_KEY_VAULT_PATH="secret/data/x"`, "since OFITEC_TOKEN_KEY_FILE is set", "below secret/, without secret/data/"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}
