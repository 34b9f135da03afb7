package bootstrap_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// vaults are the three nodes of Vault; those that run are opened again and again, as the stack does.
type vaults struct {
	s       *stage
	program string
	stops   map[layout.Region]func()
	kills   map[layout.Region]func()
}

// vaults starts an empty node in each of the regions.
func (s *stage) vaults(t *testing.T, regions ...layout.Region) *vaults {
	t.Helper()
	v := &vaults{s: s, program: find(t, servers.Vault), stops: map[layout.Region]func(){}, kills: map[layout.Region]func(){}}
	for _, r := range regions {
		v.start(t, r)
	}
	return v
}

func (v *vaults) start(t *testing.T, r layout.Region) {
	t.Helper()
	l := v.s.layout
	dir := l.ComponentDir(r, "vault")
	if err := os.MkdirAll(dir+"/data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/ca.crt", read(t, l.IdentityDir(r, "vault")+"/ca.crt"), 0o600); err != nil {
		t.Fatal(err)
	}
	node := deploy.Vault{
		NodeID: bootstrap.VaultNodeID(r), DataDir: dir + "/data", Listen: l.Addressing.Addr(r, layout.PortVault), Cluster: l.Addressing.Addr(r, layout.PortVaultCluster), TLS: v.s.serverTLS(r, "vault"),
	}
	for _, other := range layout.Regions {
		if other != r {
			node.Peers = append(node.Peers, l.Addressing.Addr(other, layout.PortVault))
		}
	}
	raw := v.s.write(t, dir+"/raw.hcl", func() ([]byte, error) { return []byte("raw_storage_endpoint = true\n"), nil })
	command := exec.Command(v.program, "server", "-config="+v.s.write(t, dir+"/vault.hcl", node.Render), "-config="+raw)
	command.Dir = dir
	stop := start(t, command)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			limited, end := context.WithTimeout(ctx, 20*time.Second)
			_ = bootstrap.OpenVault(limited, l, r, v.s.tls)
			end()
			select {
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
		}
	}()
	v.stops[r] = func() { cancel(); <-done; stop(); delete(v.stops, r) }
	v.kills[r] = func() { _ = command.Process.Kill(); v.stops[r]() }
	t.Cleanup(func() { cancel(); <-done })
}

func (v *vaults) whole(t *testing.T) {
	t.Helper()
	eventually(t, "all nodes have a vote", func(ctx context.Context) error { return bootstrap.VaultWhole(ctx, v.s.layout, v.s.tls) })
}

// boot is what a start of the stack does once the nodes run.
func (v *vaults) boot(t *testing.T) {
	t.Helper()
	eventually(t, "vault", func(ctx context.Context) error { return bootstrap.Vault(ctx, v.s.layout, v.s.owners, v.s.tls) })
	v.whole(t)
}

// active is the region whose node leads.
func (v *vaults) active(t *testing.T) layout.Region {
	t.Helper()
	var found layout.Region
	eventually(t, "a node is active", func(ctx context.Context) error {
		for r := range v.stops {
			health, err := v.s.vaultClient(t, bootstrap.VaultAddress(v.s.layout, r)).Sys().HealthWithContext(ctx)
			if err == nil && health.Initialized && !health.Sealed && !health.Standby {
				found = r
				return nil
			}
		}
		return errors.New("none")
	})
	return found
}

func (s *stage) vaultClient(t *testing.T, address string) *vault.Client {
	t.Helper()
	client, err := vault.NewClient(&vault.Config{Address: address, Timeout: 45 * time.Second, HttpClient: &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls}}})
	if err != nil {
		t.Fatal(err)
	}
	client.ClearToken()
	// On a busy machine the nodes may elect another leader at any time; requests fail meanwhile.
	client.SetMaxRetries(20)
	client.SetMinRetryWait(300 * time.Millisecond)
	client.SetMaxRetryWait(2 * time.Second)
	return client
}

// login is a service's own, with what stands in its folder.
func (s *stage) login(t *testing.T, address, service string, r layout.Region) (*vault.Client, error) {
	t.Helper()
	dir := s.layout.IdentityDir(r, service)
	client := s.vaultClient(t, address)
	secret, err := client.Logical().Write("auth/approle/login", map[string]any{
		"role_id": string(read(t, dir+"/vault-role-id")), "secret_id": string(read(t, dir+"/vault-secret-id")),
	})
	if err != nil {
		return nil, err
	}
	client.SetToken(secret.Auth.ClientToken)
	life := 3600
	if service == "rotator" {
		life = 26 * 3600
	}
	if secret.Auth.LeaseDuration != life || !secret.Auth.Renewable {
		t.Errorf("%s: token of %d s, renewable %v", service, secret.Auth.LeaseDuration, secret.Auth.Renewable)
	}
	return client, nil
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestVaultServesEachServiceWhatItsPolicySays(t *testing.T) {
	s := newStage(t)
	v := s.vaults(t, layout.Regions...)
	v.boot(t)
	const user, key, ingest = "secret/data/ofitec/credentials/odoo-app", "secret/data/ofitec/etl-transform/token-key", "secret/data/ofitec/etl-ingest/x"
	for _, c := range []struct{ service, may, mayNot string }{
		{"rotator", user, key + " " + ingest + " sys/policies/acl/rotator auth/approle/role/deployer.a/role-id"},
		{"deployer", user, key + " " + ingest + " database/creds/odoo-app"},
		{"etl-transform", key + " secret/data/ofitec/etl-transform/raw-key", user + " " + ingest + " database/creds/odoo-app transit/keys/credential-fingerprint"},
		{"etl-ingest", "secret/data/ofitec/etl-ingest/raw-key", user + " " + key + " database/config/ofitec pki/ca_chain/x"},
	} {
		client, err := s.login(t, bootstrap.VaultAddress(s.layout, layout.A), c.service, layout.B)
		if err != nil {
			t.Errorf("%s: %v", c.service, err)
			continue
		}
		for _, path := range strings.Fields(c.may) {
			if answer, err := client.Logical().Read(path); err != nil || answer == nil {
				t.Errorf("%s reads %s: %v", c.service, path, err)
			}
		}
		for _, path := range strings.Fields(c.mayNot) {
			if _, err := client.Logical().Read(path); err == nil || !strings.Contains(err.Error(), "permission denied") {
				t.Errorf("%s reads %s: %v", c.service, path, err)
			}
		}
	}
	for _, service := range []string{"failover-arbiter", "health-probe"} {
		if _, err := os.Stat(s.layout.IdentityDir(layout.A, service) + "/vault-role-id"); err == nil {
			t.Errorf("%s has a login that it does not need", service)
		}
	}
}

func TestASecondBootOfVaultKeepsLoginsAndSecrets(t *testing.T) {
	s := newStage(t)
	v := s.vaults(t, layout.Regions...)
	v.boot(t)
	address := bootstrap.VaultAddress(s.layout, layout.B)
	dir := s.layout.IdentityDir(layout.A, "rotator")
	before := string(read(t, dir+"/vault-role-id")) + string(read(t, dir+"/vault-secret-id")) + string(read(t, s.layout.OperatorDir()+"/vault.json"))
	rotator, err := s.login(t, address, "rotator", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	const path = "secret/data/ofitec/credentials/odoo-app"
	if _, err := rotator.Logical().Write(path, map[string]any{"data": map[string]any{"username": "v-2", "password": "x"}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range layout.Regions {
		v.stops[r]()
	}
	for _, r := range layout.Regions {
		v.start(t, r)
	}
	v.boot(t)
	if after := string(read(t, dir+"/vault-role-id")) + string(read(t, dir+"/vault-secret-id")) + string(read(t, s.layout.OperatorDir()+"/vault.json")); after != before {
		t.Error("logins or keys have changed")
	}
	answer, err := rotator.Logical().Read(path)
	if err != nil || answer.Data["data"].(map[string]any)["username"] != "v-2" {
		t.Errorf("the rotator's version was overwritten: %v, %v", answer, err)
	}
	// A secret id that is lost is replaced, and opens nothing any more if somebody else has found it.
	lost := read(t, dir+"/vault-secret-id")
	if err := os.Remove(dir + "/vault-secret-id"); err != nil {
		t.Fatal(err)
	}
	v.boot(t)
	if _, err := s.login(t, address, "rotator", layout.A); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(dir+"/vault-secret-id", lost, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.login(t, address, "rotator", layout.A); err == nil {
		t.Error("the lost secret id still opens")
	}
	v.boot(t) // an unknown one in the file is replaced too
	if _, err := s.login(t, address, "rotator", layout.A); err != nil {
		t.Error(err)
	}
	v.halfALogin(t, address)
	if _, err := s.login(t, address, "rotator", layout.A); err == nil {
		t.Error("a login opens that is made by half")
	}
	v.boot(t) // and is made anew
	if _, err := s.login(t, address, "rotator", layout.A); err != nil {
		t.Error(err)
	}
}

// halfALogin leaves roles as an attempt does that is cut off: Vault writes a role and then the index by which a login finds it. Such a role opens nothing, for good.
func (v *vaults) halfALogin(t *testing.T, address string) {
	t.Helper()
	var keys struct {
		Root string `json:"root_token"`
	}
	if err := json.Unmarshal(read(t, v.s.layout.OperatorDir()+"/vault.json"), &keys); err != nil {
		t.Fatal(err)
	}
	client := v.s.vaultClient(t, address)
	client.SetToken(keys.Root)
	mounts, err := client.Logical().Read("sys/auth")
	if err != nil {
		t.Fatal(err)
	}
	index := "sys/raw/auth/" + mounts.Data["approle/"].(map[string]any)["uuid"].(string) + "/role_id/"
	listed, err := client.Logical().List(index)
	if err != nil || listed == nil {
		t.Fatalf("list the index: %v, %v", listed, err)
	}
	for _, entry := range listed.Data["keys"].([]any) {
		if _, err := client.Logical().Delete(index + entry.(string)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVaultServesWhicheverRegionIsLost loses each region in turn, the last one with its disk, and asks the others for what a rotator needs.
func TestVaultServesWhicheverRegionIsLost(t *testing.T) {
	s := newStage(t)
	v := s.vaults(t, layout.Regions...)
	v.boot(t)
	const path = "secret/data/ofitec/credentials/odoo-app"
	written := 0
	write := func(by, of layout.Region) error {
		writer, err := s.login(t, bootstrap.VaultAddress(s.layout, by), "rotator", layout.A)
		if err != nil {
			return err
		}
		written++
		user := fmt.Sprint("v-", written)
		if _, err := writer.Logical().Write(path, map[string]any{"data": map[string]any{"username": user, "password": "x"}}); err != nil {
			return err
		}
		reader, err := s.login(t, bootstrap.VaultAddress(s.layout, of), "rotator", layout.B)
		if err != nil {
			return err
		}
		if answer, err := reader.Logical().Read(path); err != nil || answer.Data["data"].(map[string]any)["username"] != user {
			return fmt.Errorf("region %s reads %v, %w", of, answer, err)
		}
		return nil
	}
	first := v.active(t)
	order := []layout.Region{first}
	for _, r := range layout.Regions {
		if r != first {
			order = append(order, r)
		}
	}
	for n, r := range order {
		destroyed := n == len(order)-1
		lost := time.Now()
		v.kills[r]()
		if destroyed {
			if err := os.RemoveAll(s.layout.ComponentDir(r, "vault")); err != nil {
				t.Fatal(err)
			}
		}
		left := slices.DeleteFunc(slices.Clone(layout.Regions), func(other layout.Region) bool { return other == r })
		for _, ends := range [][2]layout.Region{{left[0], left[1]}, {left[1], left[0]}} {
			eventually(t, fmt.Sprintf("a write by region %s, read in region %s, while %s is lost", ends[0], ends[1], r), func(context.Context) error { return write(ends[0], ends[1]) })
		}
		t.Logf("region %s lost (leading: %v, with its disk: %v): written by both others after %s", r, n == 0, destroyed, time.Since(lost).Round(100*time.Millisecond))
		eventually(t, "the lost node's vote is missed and not forgotten", func(ctx context.Context) error { return bootstrap.VaultWhole(ctx, s.layout, s.tls) })
		v.start(t, r)
		eventually(t, "the node of region "+string(r)+" works again", func(ctx context.Context) error {
			status, err := s.vaultClient(t, bootstrap.VaultAddress(s.layout, r)).Sys().SealStatusWithContext(ctx)
			if err == nil && status.Sealed {
				err = errors.New("it is sealed")
			}
			return err
		})
		v.whole(t)
	}
}

// TestAFolderOfOneVaultBecomesOneOfThree starts as the stack did when Vault ran in region c alone.
func TestAFolderOfOneVaultBecomesOneOfThree(t *testing.T) {
	s := newStage(t)
	v := s.vaults(t, layout.C)
	client := s.vaultClient(t, bootstrap.VaultAddress(s.layout, layout.C))
	made, err := client.Sys().Init(&vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.layout.OperatorDir()+"/vault.json", fmt.Appendf(nil, `{"unseal_key":%q,"root_token":%q}`, made.KeysB64[0], made.RootToken), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "vault", func(ctx context.Context) error { return bootstrap.Vault(ctx, s.layout, s.owners, s.tls) })
	secret := read(t, s.layout.IdentityDir(layout.A, "rotator")+"/vault-secret-id")
	v.start(t, layout.A)
	v.start(t, layout.B)
	v.boot(t)
	if now := read(t, s.layout.IdentityDir(layout.A, "rotator")+"/vault-secret-id"); string(now) != string(secret) {
		t.Error("the login has changed")
	}
	v.kills[layout.C]()
	eventually(t, "a login without region c", func(context.Context) error {
		_, err := s.login(t, bootstrap.VaultAddress(s.layout, layout.B), "rotator", layout.B)
		return err
	})
}

func TestVaultWithoutItsKeysAndKeysWithoutTheirVaultAreNamed(t *testing.T) {
	s := newStage(t)
	file := s.layout.OperatorDir() + "/vault.json"
	if err := os.WriteFile(file, []byte(`{"unseal_key":"eA==","root_token":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	v := s.vaults(t, layout.Regions...)
	for _, r := range layout.Regions {
		eventually(t, "an empty Vault beside keys, region "+string(r), func(ctx context.Context) error {
			if err := bootstrap.OpenVault(ctx, s.layout, r, s.tls); err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "3 nodes are lost") {
				return fmt.Errorf("opening it says %w", err)
			}
			return nil
		})
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	v.boot(t)
	keys := read(t, file)
	for _, r := range layout.Regions {
		v.stops[r]()
	}
	for _, content := range []string{"", "{"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := bootstrap.Vault(t.Context(), s.layout, s.owners, s.tls); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("keys %q: %v", content, err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	// The node that makes the seal has lost its data, the others have theirs: another seal would be another Vault.
	if err := os.RemoveAll(s.layout.ComponentDir(layout.C, "vault")); err != nil {
		t.Fatal(err)
	}
	for _, r := range layout.Regions {
		v.start(t, r)
		eventually(t, "data without keys, region "+string(r), func(ctx context.Context) error {
			if err := bootstrap.OpenVault(ctx, s.layout, r, s.tls); err == nil || !strings.Contains(err.Error(), file+" is missing") {
				return fmt.Errorf("opening it says %w", err)
			}
			return nil
		})
	}
	if _, err := os.Stat(file); err == nil {
		t.Errorf("another Vault was made beside data of the first")
	}
	if err := os.WriteFile(file, keys, 0o600); err != nil {
		t.Fatal(err)
	}
	v.whole(t)
}

func TestVaultMakesAndEndsDatabaseUsersThroughTheProxies(t *testing.T) {
	s := newStage(t)
	s.primary(t)
	s.proxy(t, layout.A)
	v := s.vaults(t, layout.Regions...)
	v.boot(t)
	rotator, err := s.login(t, bootstrap.VaultAddress(s.layout, layout.A), "rotator", layout.A)
	if err != nil {
		t.Fatal(err)
	}
	user, err := rotator.Logical().Read("database/creds/odoo-app")
	if err != nil {
		t.Fatal(err)
	}
	open := func() error {
		dsn := fmt.Sprintf("postgres://%s:%s@%s/ofitec_prod?sslmode=verify-full&sslrootcert=%s", user.Data["username"], user.Data["password"],
			s.layout.Addressing.Addr(layout.A, layout.PortDatabaseProxy), s.layout.IdentityDir(layout.A, "odoo")+"/ca.crt")
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.Background()) }()
		var role string
		if err := conn.QueryRow(t.Context(), "SELECT current_user").Scan(&role); err != nil || role != "odoo_owner" {
			return fmt.Errorf("is %q: %w", role, err)
		}
		return nil
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	if user.LeaseDuration != 3600 {
		t.Errorf("the user lives %d s", user.LeaseDuration)
	}
	if _, err := rotator.Logical().Write("sys/leases/revoke/"+user.LeaseID, map[string]any{"sync": true}); err != nil {
		t.Fatal(err)
	}
	if err := open(); err == nil {
		t.Error("the revoked user still gets in")
	}
}
