package vault_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/config"
	chassisvault "github.com/ofitec/ofitec/chassis/vault"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// fake answers as a Vault does, but for what the test puts in its mouth.
type fake struct {
	mu      sync.Mutex
	kind    string // Content-Type
	body    string // of an answer with a user, or of a renewal
	short   bool   // the connection ends before the answer does
	token   string // about the token
	revoked []string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch path := r.URL.Path; {
	case path == "/v1/database/roles/odoo-app":
		_, _ = w.Write([]byte(`{"data":{"max_ttl":86400}}`))
	case path == "/v1/auth/token/lookup-self", path == "/v1/auth/token/renew-self":
		_, _ = w.Write([]byte(f.token))
	case path == "/v1/database/creds/odoo-app", path == "/v1/database/creds/rotator-fence", path == "/v1/sys/leases/renew", path == "/v1/sys/leases/lookup/database/creds/odoo-app":
		w.Header().Set("Content-Type", f.kind)
		if f.short {
			w.Header().Set("Content-Length", "100000")
		}
		_, _ = w.Write([]byte(f.body))
	case path == "/v1/transit/hmac/credential-fingerprint":
		_, _ = w.Write([]byte(`{"data":{"hmac":"vault:v1:` + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)) + `"}}`))
	case strings.HasPrefix(path, "/v1/sys/leases/revoke"):
		f.revoked = append(f.revoked, strings.TrimPrefix(path, "/v1/sys/leases/revoke/"))
		w.WriteHeader(http.StatusNoContent)
	default:
		http.NotFound(w, r)
	}
}

// says puts words into the server's mouth and forgets what was revoked before.
func (f *fake) says(kind, body string, short bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kind, f.body, f.short, f.revoked = kind, body, short, nil
}

func (f *fake) ended() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.revoked, " ")
}

const goodToken = `{"data":{"ttl":93600}}`

func engine(t *testing.T) (*vault.Engine, *fake) {
	t.Helper()
	f := &fake{token: goodToken}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	settings := chassis.Settings{}
	settings.Vault.Addr, settings.Vault.Token = server.URL, config.Secret("t")
	client, err := chassisvault.Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	return vault.New(client, "odoo-app", "rotator-fence", "ofitec/credentials/odoo-app"), f
}

const (
	lease = "database/creds/odoo-app/abcd"
	good  = `{"lease_id":"database/creds/odoo-app/abcd","renewable":true,"lease_duration":3600,"data":{"username":"v-odoo-1","password":"hunter-two"}}`
)

func TestAnAnswerThatIsMalformedIsRefusedWithTheReasonAndItsLeaseIsGivenBack(t *testing.T) {
	e, f := engine(t)
	without := func(part string) string { return strings.Replace(good, part, "", 1) }
	with := func(part, other string) string { return strings.Replace(good, part, other, 1) }
	for _, c := range []struct{ name, kind, body, want, revoked string }{
		{"no lease", "", without(`"lease_id":"database/creds/odoo-app/abcd",`), `lease_id is missing: want one that begins with database/creds/odoo-app/`, ""},
		{"an empty lease", "", with(lease, ""), `lease_id is "": want`, ""},
		{"a lease of another role", "", with(lease, "database/creds/other/abcd"), `lease_id is "database/creds/other/abcd": want`, ""},
		{"a lease that is a number", "", with(`"database/creds/odoo-app/abcd"`, "7"), `lease_id is 7: want`, ""},
		{"no user", "", without(`"username":"v-odoo-1",`), "username is missing: want a name", lease},
		{"a user without a name", "", with("v-odoo-1", ""), `username is "": want a name`, lease},
		{"a user that is an object", "", with(`"v-odoo-1"`, `{"password":"hunter-two"}`), "username is an object or a list: want a name", lease},
		{"no password", "", without(`,"password":"hunter-two"`), "password is missing or no text: want text", lease},
		{"a password that is a list", "", with(`"hunter-two"`, `["hunter-two"]`), "password is missing or no text: want text", lease},
		{"no life", "", without(`"lease_duration":3600,`), "lease_duration is missing: want a number of seconds above 0", lease},
		{"a life of zero", "", with("3600", "0"), "lease_duration is 0: want a number of seconds above 0", lease},
		{"a life below zero", "", with("3600", "-60"), "lease_duration is -60: want a number of seconds above 0", lease},
		{"a life that is a word", "", with("3600", `"3600"`), `lease_duration is "3600": want a number of seconds above 0`, lease},
		{"a life with a fraction", "", with("3600", "3600.5"), "lease_duration is 3600.5: want a number of seconds above 0", lease},
		{"a life that no clock counts", "", with("3600", "99999999999"), "lease_duration is 99999999999: want a number of seconds above 0", lease},
		{"nothing about renewing", "", without(`"renewable":true,`), "renewable is missing: want true or false", lease},
		{"a word about renewing", "", with("true", `"yes"`), `renewable is "yes": want true or false`, lease},
		{"no data", "", with(`{"username":"v-odoo-1","password":"hunter-two"}`, "null"), "data is missing: want an object with username and password", lease},
		{"two things at once", "", with("3600", "0")[:len(with("3600", "0"))-len(`,"password":"hunter-two"}}`)] + "}}", "lease_duration is 0: want a number of seconds above 0; password is missing", lease},
		{"a page for people", "text/html", "<html><body>502 hunter-two</body></html>", `40 bytes of type "text/html" are no JSON object with a lease`, ""},
		{"half of it", "application/json", good[:len(good)-20], `no JSON object with a lease`, lease},
		{"less than half, with no lease", "application/json", good[:20], `no JSON object with a lease`, ""},
		{"more than one", "", good + good, `no JSON object with a lease`, lease},
		{"a list", "", "[" + good + "]", `no JSON object with a lease`, lease},
		{"nothing", "", "", `0 bytes of type ""`, ""},
	} {
		f.says(c.kind, c.body, false)
		made, err := e.Mint(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter-two") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if made.ID != "" || len(made.Fields) > 0 {
			t.Errorf("%s: it made %+v", c.name, made)
		}
		if revoked := f.ended(); revoked != c.revoked {
			t.Errorf("%s: revoked %q, want %q", c.name, revoked, c.revoked)
		}
	}
	f.says("application/json", good, true)
	if _, err := e.Mint(t.Context()); err == nil || !strings.Contains(err.Error(), "it ends early") || f.ended() != lease {
		t.Errorf("a connection that breaks off: %v, revoked %q", err, f.ended())
	}
	f.says("application/json", strings.Replace(good, "odoo-app", "rotator-fence", 1), false)
	if made, err := e.MintFencer(t.Context()); err != nil || made.ID != "database/creds/rotator-fence/abcd" {
		t.Errorf("the fencer: %+v, %v", made, err)
	}
	f.says("application/json", good, false)
	if made, err := e.Mint(t.Context()); err != nil || made.ID != lease || made.User != "v-odoo-1" || made.TTL != time.Hour || made.MaxTTL != 24*time.Hour || f.ended() != "" {
		t.Errorf("a good answer: %+v, %v", made, err)
	}
	f.says("application/json", strings.Replace(good, "true", "false", 1), false)
	if made, err := e.Mint(t.Context()); err != nil || made.MaxTTL != time.Hour {
		t.Errorf("one that cannot be renewed: %+v, %v", made, err)
	}
}

func TestARenewalWhoseAnswerIsMalformedIsNoneAndALeaseThatIsGoneIsSaid(t *testing.T) {
	e, f := engine(t)
	for body, want := range map[string]string{
		`{}`: "lease_id is missing", `<html>`: "invalid character", ``: "lease_id is missing",
		`{"lease_id":"database/creds/odoo-app/other","lease_duration":60}`: "lease_id is database/creds/odoo-app/other: want the one that was asked for",
		`{"lease_id":"` + lease + `"}`:                                     "lease_duration is 0: want a number of seconds above 0",
		`{"lease_id":"` + lease + `","lease_duration":-5}`:                 "lease_duration is -5: want a number of seconds above 0",
		`{"lease_id":"` + lease + `","lease_duration":"soon"}`:             "cannot unmarshal",
		`{"lease_id":"` + lease + `","lease_dur`:                           "unexpected EOF",
	} {
		f.says("application/json", body, false)
		if granted, gone, err := e.Renew(t.Context(), lease, time.Hour); err == nil || !strings.Contains(err.Error(), want) || gone || granted != 0 {
			t.Errorf("%s: %s, gone %v, %v; want %q", body, granted, gone, err, want)
		}
	}
	f.says("application/json", `{"lease_id":"`+lease+`","lease_duration":60}`, false)
	if granted, gone, err := e.Renew(t.Context(), lease, time.Hour); err != nil || gone || granted != time.Minute {
		t.Errorf("a good answer: %s, gone %v, %v", granted, gone, err)
	}
}

func TestAListOfLeasesThatIsMalformedIsNoEmptyOne(t *testing.T) {
	e, f := engine(t)
	for _, body := range []string{`{"data":{}}`, `{"data":{"keys":"none"}}`, `<html>`} {
		f.says("application/json", body, false)
		if leases, err := e.Leases(t.Context()); err == nil || len(leases) > 0 {
			t.Errorf("%s: %v, %v", body, leases, err)
		}
	}
	f.says("application/json", `{"data":{"keys":["abcd"]}}`, false)
	if leases, err := e.Leases(t.Context()); err != nil || len(leases) != 1 || leases[0] != lease {
		t.Errorf("a good answer: %v, %v", leases, err)
	}
}

func TestNoUserIsMadeByATokenWhoseLifeIsNotKnown(t *testing.T) {
	e, f := engine(t)
	f.says("application/json", good, false)
	for _, token := range []string{`{}`, `{"data":{}}`, `{"data":{"ttl":"soon"}}`, `<html>`} {
		f.mu.Lock()
		f.token = token
		f.mu.Unlock()
		if made, err := e.Mint(t.Context()); err == nil || !strings.Contains(err.Error(), "look up token") || made.ID != "" {
			t.Errorf("%s: %+v, %v", token, made, err)
		}
	}
}
