package leak_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/deploy/ofitec/leak"
)

// seed is this process's own, for another run of the test may be looked at too.
var seed = fmt.Sprintf("s3cret/with+signs&more=%d", os.Getpid())

func finder() *leak.Finder {
	return leak.NewFinder(map[string][]byte{
		"password": []byte(seed), "token-key": {0, 1, 2, 3, 250, 251, 252, 253, 254, 255, 10, 13, 34, 92, 7, 8, 9, 100, 101, 102}, "user": []byte("ofitec-a"),
	})
}

func TestASecretIsFoundHoweverItIsWritten(t *testing.T) {
	f := finder()
	if f.Secrets() != 2 {
		t.Errorf("looks for %d secrets, want 2: the user's name is none", f.Secrets())
	}
	for how, text := range map[string]string{
		"plain":             "login with " + seed + " failed",
		"at the end":        seed,
		"in a url":          "postgres://u:" + url.QueryEscape(seed) + "@h/d",
		"in JSON":           fmt.Sprintf(`{"p":%q}`, seed),
		"in hex":            hex.EncodeToString([]byte("x" + seed)),
		"in base64":         base64.StdEncoding.EncodeToString([]byte(seed)),
		"in base64 of urls": base64.RawURLEncoding.EncodeToString([]byte(seed)),
		"basic auth":        "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+seed)),
		"shifted by one":    base64.StdEncoding.EncodeToString([]byte("a" + seed + "b")),
		"shifted by two":    base64.URLEncoding.EncodeToString([]byte("ab" + seed + "bcd")),
	} {
		if found := f.In([]byte(text)); !slices.Equal(found, []string{"password"}) {
			t.Errorf("%s: found %v in %s", how, found, text)
		}
	}
	for text, want := range map[string]string{"X-Vault-Token: hvs.CAESIJ2fR": "a token of Vault", "-----BEGIN PRIVATE KEY-----\nMC4C": "a private key", "-----BEGIN USER NKEY SEED-----\nSU": "a seed of NATS"} {
		if found := f.In([]byte(text)); !slices.Equal(found, []string{want}) {
			t.Errorf("found %v in %q, want %s", found, text, want)
		}
	}
	plain := sha256.Sum256([]byte(seed))
	if found := f.In([]byte(`{"fingerprint":"` + hex.EncodeToString(plain[:]) + `"}`)); !slices.Equal(found, []string{"password (a hash without a key)"}) {
		t.Errorf("a hash without a key: found %v", found)
	}
	keyed := hmac.New(sha256.New, []byte("a key that stays in Vault"))
	keyed.Write([]byte(seed))
	for _, text := range []string{"", hex.EncodeToString(keyed.Sum(nil)), "nothing here", seed[:len(seed)-1], "ofitec-a", strings.Repeat("s3cret/w", 100)} {
		if found := f.In([]byte(text)); found != nil {
			t.Errorf("found %v in %q", found, text)
		}
	}
}

// TestEachPlaceIsSeenToBeLookedAt leaks the seed on purpose, one place after the other, and leaves the others clean.
func TestEachPlaceIsSeenToBeLookedAt(t *testing.T) {
	dir := t.TempDir()
	write := func(path, content string, mode os.FileMode) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	// The names tell no secret, and each process is this one's.
	run := func(argument string, environment ...string) {
		t.Helper()
		command := exec.Command("/bin/sh", "-c", "read wait", "sh", argument)
		command.Env = append(os.Environ(), environment...)
		in, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = in.Close(); _ = command.Wait() })
	}
	metrics := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(metrics)) }))
	defer server.Close()
	search := func(application string) []leak.Leak {
		s := leak.NewSearch(finder())
		s.Files(dir)
		s.Processes(application)
		s.Metrics(t.Context(), server.Client(), "rotator", server.URL)
		return s.Found
	}
	kinds := func(found []leak.Leak) []string {
		var all []string
		for _, l := range found {
			if l.Secret != "password" {
				t.Errorf("found %+v", l)
			}
			all = append(all, l.Kind)
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	write("a/identity/odoo/postgres-password", seed, 0o600) // where it belongs
	write("a/log/rotator.log", "all is well\n", 0o644)
	write("a/rotator/state", "nothing", 0o644)
	write("closed/minio/users", seed, 0o644) // where nobody else comes by
	if err := os.Chmod(filepath.Join(dir, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	if found := search("odoo"); len(found) > 0 {
		t.Fatalf("found %v although nothing is leaked", found)
	}
	var leaked []string
	for _, place := range []struct {
		kind string
		leak func()
	}{
		{leak.Log, func() { write("a/log/rotator.log", "minted "+seed+"\n", 0o600) }},
		{leak.FileMode, func() { write("b/odoo/blue/.env", "POSTGRES_PASSWORD="+seed+"\n", 0o640) }},
		{leak.Metrics, func() { metrics = "credential{password=" + fmt.Sprintf("%q", seed) + "} 1\n" }},
		{leak.Arguments, func() { run("--password=" + seed) }},
		{leak.Environment, func() { run("", "PGPASSWORD="+seed) }},
	} {
		place.leak()
		leaked = append(leaked, place.kind)
		slices.Sort(leaked)
		if found := kinds(search("odoo")); !slices.Equal(found, leaked) {
			t.Errorf("after a leak into %s: found %v, want %v", place.kind, found, leaked)
		}
	}
	if found := kinds(search("sh")); slices.Contains(found, leak.Environment) || !slices.Contains(found, leak.Arguments) {
		t.Errorf("the application may have it in its environment, and not in its arguments; found %v", found)
	}
}
