package main

import (
	"net/url"
	"regexp"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cloudflare"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dnsapi"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/route53"
)

// providers are the kinds of whoever moves the name. The key is the name in FailoverSwitched.
var providers = map[string]providerKind{"rfc2136": rfc2136Kind, "route53": route53Kind, "cloudflare": cloudflareKind, "post": postKind}

// providerKind checks what its kind alone needs, and says how it is dealt with.
type providerKind func(d DNS, check func(ok bool, variable, value, want string)) provision

// provision is a kind of provider, as configured.
type provision struct {
	open func() (dns.Provider, error)

	// every is the least time between two tries to set the same: requests to an API are counted, and may be charged.
	every time.Duration
	// undoes: the provider cannot keep a stale leader from writing. The name is looked at each tick then, and what is wrong is set again.
	undoes bool
}

// apiEvery keeps well within Route 53's five requests a second and Cloudflare's four: a try makes three at the most.
const apiEvery = time.Second

func rfc2136Kind(d DNS, check func(bool, string, string, string)) provision {
	check(d.Zone != "", "OFITEC_DNS_ZONE", d.Zone, "the zone of OFITEC_DNS_NAME")
	check(d.KeyFile != "", "OFITEC_DNS_KEY_FILE", d.KeyFile, "a file with the TSIG key")
	return provision{open: func() (dns.Provider, error) {
		key, err := dns.ReadKey(d.KeyFile)
		if err != nil {
			return nil, err
		}
		return dns.NewRFC2136(d.Server, d.Zone, key), nil
	}}
}

var (
	hostedZone     = regexp.MustCompile(`^Z[0-9A-Z]{1,31}$`)
	cloudflareZone = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

func route53Kind(d DNS, check func(bool, string, string, string)) provision {
	check(hostedZone.MatchString(d.ZoneID), "OFITEC_DNS_ZONE_ID", d.ZoneID, "the id of a hosted zone, such as Z1D633PJN98FT9")
	check(d.CredentialsFile != "", "OFITEC_DNS_CREDENTIALS_FILE", d.CredentialsFile, "a file in the syntax of AWS's shared credentials")
	return provision{every: apiEvery, open: func() (dns.Provider, error) {
		if err := route53.CheckCredentials(d.CredentialsFile); err != nil {
			return nil, err
		}
		return route53.New(route53.Options{ZoneID: d.ZoneID, Credentials: d.CredentialsFile, Authority: dns.NewAuthority(d.Server)}), nil
	}}
}

func cloudflareKind(d DNS, check func(bool, string, string, string)) provision {
	check(cloudflareZone.MatchString(d.ZoneID), "OFITEC_DNS_ZONE_ID", d.ZoneID, "the id of a zone, 32 digits from 0 to f")
	check(d.TokenFile != "", "OFITEC_DNS_TOKEN_FILE", d.TokenFile, "a file with an API token")
	check(d.TTL >= 30*time.Second, "OFITEC_DNS_TTL", d.TTL.String(), "60s, or from 30s on in an Enterprise zone: Cloudflare takes nothing less")
	return provision{every: apiEvery, undoes: true, open: func() (dns.Provider, error) {
		if _, err := dns.ReadToken(d.TokenFile); err != nil {
			return nil, err
		}
		return cloudflare.New(cloudflare.Options{ZoneID: d.ZoneID, TokenFile: d.TokenFile, Authority: dns.NewAuthority(d.Server)}), nil
	}}
}

func postKind(d DNS, check func(bool, string, string, string)) provision {
	at, err := url.Parse(d.APIURL)
	good := err == nil && at.Host != "" && (at.Scheme == "https" || at.Scheme == "http")
	shown := "" // only where it leads to: a key may stand in the rest
	switch {
	case good:
		shown = at.Scheme + "://" + at.Host
	case d.APIURL != "":
		shown = "not shown"
	}
	check(good, "OFITEC_DNS_API_URL", shown, "an http:// or https:// URL")
	check(!good || at.User == nil, "OFITEC_DNS_API_URL", shown, "a URL without a password: that goes into OFITEC_DNS_TOKEN_FILE")
	check(!good || d.TokenFile == "" || at.Scheme == "https", "OFITEC_DNS_API_URL", shown, "https://, for a token is sent there")
	return provision{every: apiEvery, undoes: true, open: func() (dns.Provider, error) {
		if d.TokenFile != "" {
			if _, err := dns.ReadToken(d.TokenFile); err != nil {
				return nil, err
			}
		}
		return dnsapi.New(dnsapi.Options{URL: d.APIURL, TokenFile: d.TokenFile, Authority: dns.NewAuthority(d.Server)}), nil
	}}
}
