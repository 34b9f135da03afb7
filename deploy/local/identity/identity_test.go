package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

func made(t *testing.T) (layout.Layout, *Set) {
	t.Helper()
	l := layout.Layout{Root: t.TempDir(), Addressing: layout.Loopback()}
	set, err := Ensure(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, set
}

// files reads everything below the layout's root.
func files(t *testing.T, l layout.Layout) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(l.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, l.Root+"/")] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestASecondStartChangesNoFile(t *testing.T) {
	l, first := made(t)
	before := files(t, l)
	second, err := Ensure(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	after := files(t, l)
	if len(before) != len(after) {
		t.Errorf("%d files became %d", len(before), len(after))
	}
	for path, content := range after {
		if !bytes.Equal(content, before[path]) {
			t.Errorf("%s has changed", path)
		}
	}
	if first.OperatorJWT != second.OperatorJWT || first.RoutePassword != second.RoutePassword || first.Accounts[1] != second.Accounts[1] {
		t.Error("the set has changed")
	}
}

func TestEveryFileIsItsOwnersAlone(t *testing.T) {
	l, _ := made(t)
	err := filepath.WalkDir(l.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == l.Root {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name := filepath.Base(path)
		want := fs.FileMode(0o600)
		switch {
		case name == "ca.crt":
			want = 0o644
		case entry.IsDir() && (name == "identity" && filepath.Base(filepath.Dir(path)) != "operator" || name == "outside" || len(name) == 1):
			want = 0o755 // passed on the way to folders of several users
		case entry.IsDir():
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFoldersBelongToTheComponentsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	l := layout.Layout{Root: t.TempDir(), Addressing: layout.Loopback()}
	owners := Owners{"rotator": {UID: 62101, GID: 62102}}
	for range 2 {
		if _, err := Ensure(l, owners); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"", "tls.key", "tls.crt", "nats.creds", "ca.crt"} {
			info, err := os.Stat(filepath.Join(l.IdentityDir(layout.B, "rotator"), name))
			if err != nil {
				t.Fatal(err)
			}
			if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 62101 || stat.Gid != 62102 {
				t.Errorf("%q belongs to %d:%d", name, stat.Uid, stat.Gid)
			}
		}
		// What somebody has given to another user is given back.
		if err := os.Chown(filepath.Join(l.IdentityDir(layout.B, "rotator"), "tls.key"), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func certificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificatesNameTheirServiceAndRegion(t *testing.T) {
	l, _ := made(t)
	pool := x509.NewCertPool()
	pool.AddCert(certificate(t, filepath.Join(l.OperatorDir(), "ca.crt")))
	for _, c := range []struct{ file, name, host string }{
		{l.IdentityDir(layout.A, "failover-arbiter") + "/tls.crt", "failover-arbiter.a", "127.0.0.11"},
		{l.IdentityDir(layout.C, "nats") + "/tls.crt", "nats.c", "127.0.0.13"},
		{l.IdentityDir(layout.B, "etcd") + "/tls.crt", "", "127.0.0.12"},
		{l.IdentityDir(layout.B, "etcd") + "/peer.crt", "etcd.b", "etcd.b"},
		{l.IdentityDir(layout.A, "vault") + "/tls.crt", "vault.a", "localhost"},
		{l.IdentityDir(layout.C, "vault") + "/tls.crt", "vault.c", "localhost"},
		{l.IdentityDir(layout.B, "postgres") + "/tls.crt", "postgres.b", "127.0.0.12"},
		{l.OutsideIdentityDir("console") + "/tls.crt", "console.outside", "127.0.0.1"},
		{l.OutsideIdentityDir("minio") + "/certs/public.crt", "minio.outside", "10.77.0.1"},
		{l.OperatorIdentityDir() + "/tls.crt", "root", "127.0.0.1"},
	} {
		cert := certificate(t, c.file)
		if cert.Subject.CommonName != c.name {
			t.Errorf("%s is for %q, want %q", c.file, cert.Subject.CommonName, c.name)
		}
		if err := cert.VerifyHostname(c.host); err != nil {
			t.Errorf("%s: %v", c.file, err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", c.file, err)
			}
		}
	}
}

func TestACertificateThatEndsSoonIsSignedAnewForTheSameKey(t *testing.T) {
	l, _ := made(t)
	dir := l.IdentityDir(layout.A, "rotator")
	key, _ := os.ReadFile(dir + "/tls.key")
	first := certificate(t, dir+"/tls.crt")
	later := time.Now().Add(320 * 24 * time.Hour)
	if _, err := ensure(l, nil, later); err != nil {
		t.Fatal(err)
	}
	renewed := certificate(t, dir+"/tls.crt")
	same, _ := os.ReadFile(dir + "/tls.key")
	if !renewed.NotAfter.After(later.Add(300*24*time.Hour)) || renewed.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Errorf("it ends at %v", renewed.NotAfter)
	}
	if !bytes.Equal(key, same) {
		t.Error("the key has changed")
	}
	if _, err := tls.LoadX509KeyPair(dir+"/tls.crt", dir+"/tls.key"); err != nil {
		t.Error(err)
	}
	// The CA, nine years on, signs itself anew; what it signed before stays valid.
	old := certificate(t, l.OperatorDir()+"/ca.crt")
	if _, err := ensure(l, nil, time.Now().Add(9*365*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	ca := certificate(t, l.OperatorDir()+"/ca.crt")
	if !ca.NotAfter.After(old.NotAfter) || renewed.CheckSignatureFrom(ca) != nil {
		t.Error("the CA was not renewed with its key")
	}
	if copied, _ := os.ReadFile(dir + "/ca.crt"); !bytes.Equal(copied, mustRead(t, l.OperatorDir()+"/ca.crt")) {
		t.Error("a copy of the CA is the old one")
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestDamageIsNamedAndNothingIsOverwritten(t *testing.T) {
	l, _ := made(t)
	for _, name := range []string{
		"operator/ca.key", "operator/ca.crt", "a/identity/rotator/tls.key", "a/identity/rotator/tls.crt", "c/identity/etcd/peer.key", "b/identity/deployer/nats.creds",
		"operator/nats/OPS.seed", "operator/nats/OPS.jwt", "operator/secrets/postgres-ofitec_probe", "a/identity/health-probe/postgres-password",
		"operator/secrets/token-key", "b/identity/etl-transform/token.key", "operator/secrets/raw-key", "a/identity/etl-ingest/raw-key", "b/identity/failover-arbiter/tsig.key", "outside/identity/bind/keys.conf",
		"outside/identity/minio/certs/private.key", "operator/vault-admin-password",
	} {
		path := filepath.Join(l.Root, name)
		good := mustRead(t, path)
		for what, content := range map[string][]byte{"empty": {}, "torn": good[:len(good)/2], "foreign": []byte("hello\n")} {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Ensure(l, nil)
			if err == nil || !strings.Contains(err.Error(), path) {
				// A master and its copy that differ are named together.
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if got := mustRead(t, path); !bytes.Equal(got, content) {
				t.Errorf("%s, %s: it was overwritten", name, what)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Ensure(l, nil); err != nil {
		t.Errorf("with everything restored: %v", err)
	}
}

func TestAMissingKeyBesideItsCertificateIsNotReplacedInSilence(t *testing.T) {
	l, _ := made(t)
	for _, path := range []string{l.OperatorDir() + "/ca.key", l.IdentityDir(layout.A, "nats") + "/tls.key"} {
		good := mustRead(t, path)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := Ensure(l, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALostMasterIsTakenFromItsCopies(t *testing.T) {
	l, _ := made(t)
	master := l.OperatorDir() + "/secrets/token-key"
	key := mustRead(t, master)
	if err := os.Remove(master); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(l, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key, mustRead(t, master)) {
		t.Error("the key of personal-data tokens is another one")
	}
	if err := os.Remove(master); err != nil {
		t.Fatal(err)
	}
	other := l.IdentityDir(layout.B, "etl-transform") + "/token.key"
	if err := os.WriteFile(other, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(l, nil); err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("two copies that differ: %v", err)
	}
}

func TestALinkInAFolderIsNotFollowed(t *testing.T) {
	l, _ := made(t)
	prey := filepath.Join(t.TempDir(), "prey")
	if err := os.WriteFile(prey, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	path := l.IdentityDir(layout.A, "rotator") + "/nats.creds"
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(prey, path); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(l, nil); err == nil {
		t.Error("the link was followed")
	}
	if info, _ := os.Stat(prey); info.Mode().Perm() != 0o644 {
		t.Error("the link's target was changed")
	}
}

func TestCredentialsAreSignedAnewWhenPermissionsChange(t *testing.T) {
	l, _ := made(t)
	path := l.IdentityDir(layout.A, "rotator") + "/nats.creds"
	right := mustRead(t, path)
	trusted, err := openTrustees(l.OperatorDir() + "/nats")
	if err != nil {
		t.Fatal(err)
	}
	if err := trusted.user(path, "rotator.a", trusted.ops, jwt.Permissions{Pub: jwt.Permission{Allow: jwt.StringList{">"}}}, Owner{-1, -1}); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(right, mustRead(t, path)) {
		t.Fatal("the permissions did not change")
	}
	if _, err := Ensure(l, nil); err != nil {
		t.Fatal(err)
	}
	again := mustRead(t, path)
	before, _ := jwt.ParseDecoratedUserNKey(right)
	after, _ := jwt.ParseDecoratedUserNKey(again)
	a, _ := before.PublicKey()
	if b, _ := after.PublicKey(); a != b {
		t.Error("the key has changed")
	}
	token, _ := jwt.ParseDecoratedJWT(again)
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil || len(claims.Pub.Allow) < 2 {
		t.Errorf("%v, %v", claims, err)
	}
}

func TestTheSetHasWhatConfigurationsNeed(t *testing.T) {
	l, set := made(t)
	for _, role := range deploy.PostgresLoginRoles {
		if password, err := set.Password(role); err != nil || len(password) < 40 || password[0] == '-' {
			t.Errorf("%s: %v", role, err)
		}
	}
	if _, err := set.Password("postgres"); err == nil {
		t.Error("the superuser has a password")
	}
	n := deploy.NATS{
		ServerName: "ofitec-a", Client: "127.0.0.11:4222", Route: "127.0.0.11:6222", Monitor: "127.0.0.11:8222", Routes: []string{"127.0.0.12:6222"},
		TLS:           deploy.TLSFiles{Cert: "/c", Key: "/k", CA: "/a"},
		RoutePassword: set.RoutePassword, OperatorJWT: set.OperatorJWT, SystemAccount: set.SystemAccount, Accounts: set.Accounts, StoreDir: "/s",
	}
	if _, err := n.Render(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.IdentityDir(layout.C, "rotator")); err == nil {
		t.Error("region c has an identity of a service that does not run there")
	}
	for path := range files(t, l) {
		if strings.HasSuffix(path, "ca.key") && path != "operator/ca.key" {
			t.Errorf("the CA's key is in %s", path)
		}
	}
}
