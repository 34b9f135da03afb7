package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns/dnstest"
)

func TestEachProviderSaysWhatItNeeds(t *testing.T) {
	base := DNS{Provider: "rfc2136", Server: "192.0.2.53:53", Name: dnstest.Name, TTL: 30 * time.Second, AddressA: "192.0.2.11", AddressB: "192.0.2.12"}
	with := func(change func(*DNS)) DNS {
		d := base
		change(&d)
		return d
	}
	for _, c := range []struct {
		of   DNS
		want []string // nothing: it is good
	}{
		{newDNS(), nil},
		{base, []string{"OFITEC_DNS_ZONE is not set", "OFITEC_DNS_KEY_FILE is not set"}},
		{with(func(d *DNS) { d.Provider = "bind" }), []string{`OFITEC_DNS_PROVIDER="bind": want rfc2136, route53, cloudflare or post`}},
		{with(func(d *DNS) { d.Provider = "route53" }), []string{"OFITEC_DNS_ZONE_ID is not set", "OFITEC_DNS_CREDENTIALS_FILE is not set"}},
		{with(func(d *DNS) { d.Provider, d.ZoneID, d.CredentialsFile = "route53", "Z1D633PJN98FT9", "/c" }), nil},
		{with(func(d *DNS) {
			d.Provider, d.ZoneID, d.CredentialsFile, d.Server = "route53", "Z1D633PJN98FT9", "/c", ""
		}), []string{"OFITEC_DNS_SERVER is not set"}},
		{with(func(d *DNS) { d.Provider, d.ZoneID, d.TTL = "cloudflare", "Z1D633PJN98FT9", 5*time.Second }), []string{`OFITEC_DNS_ZONE_ID="Z1D`, "OFITEC_DNS_TOKEN_FILE is not set", `OFITEC_DNS_TTL="5s": want 60s`}},
		{with(func(d *DNS) {
			d.Provider, d.ZoneID, d.TokenFile = "cloudflare", "023e105f4ecef8ad9ca31a8372d0c353", "/t"
		}), nil},
		{with(func(d *DNS) { d.Provider = "post" }), []string{"OFITEC_DNS_API_URL is not set"}},
		{with(func(d *DNS) { d.Provider, d.APIURL = "post", "http://dns.example/set" }), nil},
		{with(func(d *DNS) { d.Provider, d.APIURL, d.TokenFile = "post", "http://dns.example/set?key=s3cr3t", "/t" }), []string{`OFITEC_DNS_API_URL="http://dns.example": want https://`}},
		{with(func(d *DNS) { d.Provider, d.APIURL = "post", "https://me:s3cr3t@dns.example/set" }), []string{`OFITEC_DNS_API_URL="https://dns.example": want a URL without a password`}},
		{with(func(d *DNS) { d.Provider, d.APIURL = "post", "dns.example/s3cr3t" }), []string{`OFITEC_DNS_API_URL="not shown": want an http:// or https:// URL`}},
		{with(func(d *DNS) { d.Zone, d.KeyFile, d.APIURL = "ofitec.test", "/k", "https://dns.example/s3cr3t" }), []string{"OFITEC_DNS_PROVIDER=rfc2136 does not use it; it needs post"}},
		{DNS{Provider: "rfc2136", TTL: 30 * time.Second, APIURL: "https://dns.example"}, []string{"it needs post", "OFITEC_DNS_SERVER is not set"}},
	} {
		said := ""
		if err := errors.Join(c.of.problems()...); err != nil {
			said = err.Error()
		}
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%+v: no %q in %q", c.of, want, said)
			}
		}
		if c.want == nil && said != "" || strings.Contains(said, "s3cr3t") {
			t.Errorf("%+v: %q", c.of, said)
		}
	}
}

func TestAProviderIsOpenedOnlyWithItsSecret(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	write := func(content string) {
		must(t, os.WriteFile(secret, []byte(content), 0o600))
	}
	nothing := func(bool, string, string, string) {}
	for kind, content := range map[string]string{
		"rfc2136":    `key "k" { algorithm hmac-sha256; secret "YSBzZWNyZXQgb2YgbWFueSBieXRlcw=="; };`,
		"route53":    "[default]\naws_access_key_id=AKID\naws_secret_access_key=s3cr3t\n",
		"cloudflare": "s3cr3t",
		"post":       "s3cr3t",
	} {
		opened := providers[kind](DNS{Server: "192.0.2.53:53", Zone: "ofitec.test", KeyFile: secret, CredentialsFile: secret, TokenFile: secret, APIURL: "https://dns.example"}, nothing)
		write("")
		if _, err := opened.open(); err == nil {
			t.Errorf("%s without a secret is opened", kind)
		}
		write(content)
		if p, err := opened.open(); err != nil || p == nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if len(providers) != 4 {
		t.Errorf("%d kinds, of which 4 are opened here", len(providers))
	}
}
