package main

import (
	"net"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
)

// DNS is the public name that follows the mandate. Without a server, no name is moved.
type DNS struct {
	Server   string        `env:"OFITEC_DNS_SERVER" yaml:"server" doc:"host:port of the authoritative server: rfc2136 updates it, and of all providers it is asked what the name is; no name is moved when empty"`
	Provider string        `env:"OFITEC_DNS_PROVIDER" yaml:"provider" doc:"who moves the name: rfc2136, route53, cloudflare or post"`
	Zone     string        `env:"OFITEC_DNS_ZONE" yaml:"zone" doc:"rfc2136: zone of the name"`
	Name     string        `env:"OFITEC_DNS_NAME" yaml:"name" doc:"the name that leads to the active region"`
	KeyFile  string        `env:"OFITEC_DNS_KEY_FILE" yaml:"key_file" doc:"rfc2136: file with the TSIG key, in BIND's syntax, mode 0600"`
	TTL      time.Duration `env:"OFITEC_DNS_TTL" yaml:"ttl" doc:"how long resolvers keep the address: 30s to 60s, less in a local stack"`
	AddressA string        `env:"OFITEC_REGION_A_ADDRESS" yaml:"address_a" doc:"IPv4 address of region a"`
	AddressB string        `env:"OFITEC_REGION_B_ADDRESS" yaml:"address_b" doc:"IPv4 address of region b"`

	ZoneID          string `env:"OFITEC_DNS_ZONE_ID" yaml:"zone_id" doc:"route53: id of the hosted zone; cloudflare: id of the zone"`
	CredentialsFile string `env:"OFITEC_DNS_CREDENTIALS_FILE" yaml:"credentials_file" doc:"route53: file in the syntax of AWS's shared credentials, mode 0600"`
	TokenFile       string `env:"OFITEC_DNS_TOKEN_FILE" yaml:"token_file" doc:"cloudflare: file with an API token that may write the zone's records, mode 0600; post: with a bearer token, none is sent when empty"`
	APIURL          string `env:"OFITEC_DNS_API_URL" yaml:"api_url" doc:"post: URL to which {\"ip\": address} is sent"`
}

func newDNS() DNS { return DNS{Provider: "rfc2136", TTL: 30 * time.Second} }

func (d DNS) problems() []error {
	if d.Server == "" && d.Provider == newDNS().Provider && d.APIURL == "" {
		return nil
	}
	var problems []error
	check := func(ok bool, variable, value, want string) {
		if !ok {
			problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
		}
	}
	kind, known := providers[d.Provider]
	check(known, "OFITEC_DNS_PROVIDER", d.Provider, "rfc2136, route53, cloudflare or post")
	if known {
		kind(d, check)
	}
	_, _, err := net.SplitHostPort(d.Server)
	check(err == nil, "OFITEC_DNS_SERVER", d.Server, "host:port of the authoritative server")
	check(d.Name != "", "OFITEC_DNS_NAME", d.Name, "the name that leads to the active region")
	check(d.TTL >= time.Second && d.TTL <= time.Minute && d.TTL%time.Second == 0, "OFITEC_DNS_TTL", d.TTL.String(), "whole seconds from 1s to 60s")
	check(net.ParseIP(d.AddressA).To4() != nil, "OFITEC_REGION_A_ADDRESS", d.AddressA, "an IPv4 address")
	check(net.ParseIP(d.AddressB).To4() != nil, "OFITEC_REGION_B_ADDRESS", d.AddressB, "an IPv4 address")
	check(d.AddressA != d.AddressB || d.AddressA == "", "OFITEC_REGION_B_ADDRESS", d.AddressB, "another address than region a's")
	check(d.APIURL == "" || d.Provider == "post", "OFITEC_DNS_API_URL", "not shown", "nothing, for OFITEC_DNS_PROVIDER="+d.Provider+" does not use it; it needs post")
	return problems
}

// record is the name as it should be while a region is active under an epoch.
func (d DNS) record(active events.Region, epoch events.Epoch) dns.Record {
	address := d.AddressA
	if active == events.RegionB {
		address = d.AddressB
	}
	return dns.Record{Name: d.Name, Address: address, TTL: d.TTL, Epoch: epoch}
}
