package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/chassis/tlsfile"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
)

// holder is one identity of the running stack.
type holder struct {
	service string
	region  layout.Region
	dir     string
}

func (h holder) String() string { return h.service + "." + string(h.region) }

func (s *stack) identities() []holder {
	var all []holder
	for _, service := range layout.Services {
		for _, r := range service.Regions {
			all = append(all, holder{service.Name, r, s.layout.IdentityDir(r, service.Name)})
		}
	}
	return append(all, holder{"console", "outside", s.layout.OutsideIdentityDir("console")})
}

func (h holder) tls(t *testing.T) *tls.Config {
	t.Helper()
	source, err := tlsfile.Open(tlsfile.Files{Cert: filepath.Join(h.dir, "tls.crt"), Key: filepath.Join(h.dir, "tls.key"), CA: filepath.Join(h.dir, "ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	return source.Client()
}

// identitiesAreBounded tries, for each identity, what it must not do.
func (s *stack) identitiesAreBounded(t *testing.T) {
	for _, h := range s.identities() {
		t.Run(h.String(), func(t *testing.T) {
			s.natsIsBounded(t, h)
			s.etcdIsBounded(t, h)
			s.vaultIsBounded(t, h)
		})
	}
	t.Run("strangers", s.strangersAreRefused)
	t.Run("PostgreSQL", s.postgresIsBounded)
}

func (s *stack) natsIsBounded(t *testing.T, h holder) {
	denied := make(chan string, 64)
	conn, err := nats.Connect("tls://"+s.layout.Addressing.Addr(layout.A, layout.PortNATS),
		nats.UserCredentials(filepath.Join(h.dir, "nats.creds")), nats.Secure(h.tls(t)), nats.CustomInboxPrefix("_INBOX."+h.String()), nats.Timeout(5*time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err.Error() }))
	if err != nil {
		t.Fatalf("its own credentials are refused: %v", err)
	}
	defer conn.Close()
	// An identity may publish nothing that its row of the table does not name; the other region's subjects, and another service's types, are foreign to all.
	foreign := []string{"ofitec.z.health.observed.v1.a", "ofitec.a.nonsense.happened.v1.x", "$SYS.REQ.SERVER.PING", "$JS.API.STREAM.DELETE.FACTS", "$JS.API.STREAM.UPDATE.FACTS", "$JS.API.STREAM.PURGE.FACTS", "$JS.API.STREAM.MSG.DELETE.FACTS", "$JS.API.STREAM.CREATE.MINE"}
	for _, definition := range events.Definitions {
		if !contains(definition.Publishers, h.service) {
			foreign = append(foreign, events.Subject(events.RegionA, definition.Type, "x"))
		} else if h.region != layout.B && events.PublishingRegion(h.service, events.Region(h.region)) != "" {
			foreign = append(foreign, events.Subject(events.RegionB, definition.Type, "x"))
		}
	}
	if h.service == "console" {
		foreign = removeJobs(foreign) // the console's commands go to either region
	}
	for _, subject := range foreign {
		if err := conn.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range []string{">", "_INBOX.>", "_INBOX.rotator.a.>", "$SYS.>"} {
		if h.String() == "rotator.a" && subject == "_INBOX.rotator.a.>" {
			continue
		}
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, subject)
	}
	if err := conn.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	deadline := time.After(5 * time.Second)
	for len(refused) < len(foreign) {
		select {
		case text := <-denied:
			for _, subject := range foreign {
				if strings.Contains(text, `"`+subject+`"`) {
					refused[subject] = true
				}
			}
		case <-deadline:
			for _, subject := range foreign {
				if !refused[subject] {
					t.Errorf("NATS: %s may use %s", h, subject)
				}
			}
			return
		}
	}
}

func contains(list []string, one string) bool {
	for _, item := range list {
		if item == one {
			return true
		}
	}
	return false
}

func removeJobs(subjects []string) []string {
	var kept []string
	for _, subject := range subjects {
		if !strings.Contains(subject, ".job.") {
			kept = append(kept, subject)
		}
	}
	return kept
}

func (s *stack) etcdIsBounded(t *testing.T, h holder) {
	client := s.etcdAs(t, h.tls(t))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	mayWrite := map[string][]string{
		"failover-arbiter": {"/ofitec/active", "/ofitec/failover/"},
		"rotator":          {"/ofitec/credentials/", "/ofitec/rotator/"},
		"deployer":         {"/ofitec/deployments/" + string(h.region) + "/"},
	}
	for _, key := range []string{"/ofitec/active", "/ofitec/failover/state", "/ofitec/failover/mandate", "/ofitec/credentials/x", "/ofitec/rotator/leader", "/ofitec/deployments/a/x", "/ofitec/deployments/b/x", "/ofitec/outbox/nobody/x", "/elsewhere"} {
		own := false
		for _, prefix := range mayWrite[h.service] {
			own = own || strings.HasPrefix(key, prefix)
		}
		if own {
			continue
		}
		if _, err := client.Put(ctx, key, "stolen"); !errors.Is(err, rpctypes.ErrPermissionDenied) {
			t.Errorf("etcd: %s writes %s: %v", h, key, err)
		}
	}
	if _, err := client.UserList(ctx); err == nil {
		t.Errorf("etcd: %s may list users", h)
	}
}

func (s *stack) etcdAs(t *testing.T, config *tls.Config) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"https://" + s.layout.Addressing.Addr(layout.A, layout.PortEtcd)}, TLS: config, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// vaultIsBounded logs in where the service has an AppRole, and tries other people's paths.
func (s *stack) vaultIsBounded(t *testing.T, h holder) {
	roleID, err := os.ReadFile(filepath.Join(h.dir, "vault-role-id"))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	secretID, err := os.ReadFile(filepath.Join(h.dir, "vault-secret-id"))
	if err != nil {
		t.Fatal(err)
	}
	client := vaultClient{t, "https://" + s.layout.Addressing.Addr(layout.C, layout.PortVault), &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: h.tls(t), DisableKeepAlives: true}}, ""}
	client.token = client.login(strings.TrimSpace(string(roleID)), strings.TrimSpace(string(secretID)))
	for _, path := range []string{"sys/policies/acl", "sys/mounts", "auth/approle/role/rotator/secret-id", "database/config/ofitec", "secret/data/ofitec/nobody/x", "sys/raw/core"} {
		if code := client.read(path); code != http.StatusForbidden && code != http.StatusNotFound && code != http.StatusMethodNotAllowed {
			t.Errorf("vault: %s reads %s: %d", h, path, code)
		}
	}
	if h.service == "rotator" { // its reading would make a user that nobody has recorded
		return
	}
	if code := client.read("database/creds/odoo-app"); code != http.StatusForbidden {
		t.Errorf("vault: %s makes database users: %d", h, code)
	}
}

func (s *stack) strangersAreRefused(t *testing.T) {
	stranger := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} // it has no certificate and does not care whom it speaks to
	client := s.etcdAs(t, stranger)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if _, err := client.Get(ctx, "/ofitec/active"); err == nil {
		t.Error("etcd answers somebody without a certificate")
	}
	if conn, err := nats.Connect("tls://"+s.layout.Addressing.Addr(layout.A, layout.PortNATS), nats.Secure(stranger), nats.Timeout(3*time.Second)); err == nil {
		conn.Close()
		t.Error("NATS admits somebody without credentials")
	}
}

// postgresIsBounded tries the ways into PostgreSQL that must be closed.
func (s *stack) postgresIsBounded(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connect := func(addr, role, passwordFile, options string) (*pgx.Conn, error) {
		password, err := os.ReadFile(passwordFile)
		if err != nil {
			t.Fatal(err)
		}
		ca := filepath.Join(s.layout.OperatorIdentityDir(), "ca.crt")
		return pgx.Connect(ctx, fmt.Sprintf("postgres://%s:%s@%s/ofitec_prod?sslrootcert=%s&connect_timeout=3&%s", role, password, addr, ca, options))
	}
	proxy, direct := s.layout.Addressing.Addr(layout.A, layout.PortDatabaseProxy), s.layout.Addressing.Addr(layout.A, layout.PortPostgres)
	odoo := filepath.Join(s.layout.IdentityDir(layout.A, "odoo"), "postgres-password")
	probe := filepath.Join(s.layout.IdentityDir(layout.A, "health-probe"), "postgres-password")
	vault := filepath.Join(s.layout.OperatorDir(), "vault-admin-password")

	conn, err := connect(proxy, "odoo_bootstrap", odoo, "sslmode=verify-full")
	if err != nil {
		t.Fatalf("the application cannot log in through the proxy: %v", err)
	}
	var owner string
	if err := conn.QueryRow(ctx, "SELECT current_user").Scan(&owner); err != nil || owner != "odoo_owner" {
		t.Errorf("the application is %q, %v; want the stable owner role odoo_owner", owner, err)
	}
	if _, err := conn.Exec(ctx, "UPDATE ofitec.heartbeat SET number = 0"); err == nil {
		t.Error("the application may change the heartbeat")
	}
	_ = conn.Close(ctx)

	for name, attempt := range map[string]func() (*pgx.Conn, error){
		"the application beside the proxy": func() (*pgx.Conn, error) { return connect(direct, "odoo_bootstrap", odoo, "sslmode=verify-full") },
		"the application without TLS":      func() (*pgx.Conn, error) { return connect(proxy, "odoo_bootstrap", odoo, "sslmode=disable") },
		"Vault's user beside the proxy":    func() (*pgx.Conn, error) { return connect(direct, "vault_admin", vault, "sslmode=verify-full") },
		"the superuser over the network":   func() (*pgx.Conn, error) { return connect(direct, "postgres", odoo, "sslmode=verify-full") },
		"a wrong password":                 func() (*pgx.Conn, error) { return connect(proxy, "odoo_bootstrap", probe, "sslmode=verify-full") },
		"the application in the standby, 5432": func() (*pgx.Conn, error) {
			return connect(s.layout.Addressing.Addr(layout.B, layout.PortDatabaseProxy), "odoo_bootstrap", odoo, "sslmode=verify-full")
		},
	} {
		if conn, err := attempt(); err == nil {
			_ = conn.Close(ctx)
			t.Errorf("PostgreSQL admits %s", name)
		}
	}
	conn, err = connect(direct, "ofitec_probe", probe, "sslmode=verify-full")
	if err != nil {
		t.Fatalf("the probe cannot log in: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, "SELECT * FROM ofitec.heartbeat"); err != nil {
		t.Errorf("the probe cannot read the heartbeat: %v", err)
	}
	for _, statement := range []string{"CREATE TABLE public.mine (x int)", "UPDATE ofitec.heartbeat SET number = 0", "CREATE ROLE mine", "SELECT * FROM public.res_partner LIMIT 1"} {
		if _, err := conn.Exec(ctx, statement); err == nil {
			t.Errorf("the probe may: %s", statement)
		}
	}
}
