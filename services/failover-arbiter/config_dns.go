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
	Server   string        `env:"OFITEC_DNS_SERVER" yaml:"server" doc:"host:port of the authoritative server, which takes signed updates (RFC 2136); no name is moved when empty"`
	Zone     string        `env:"OFITEC_DNS_ZONE" yaml:"zone" doc:"zone of the name"`
	Name     string        `env:"OFITEC_DNS_NAME" yaml:"name" doc:"the name that leads to the active region"`
	KeyFile  string        `env:"OFITEC_DNS_KEY_FILE" yaml:"key_file" doc:"file with the TSIG key, in BIND's syntax, mode 0600"`
	TTL      time.Duration `env:"OFITEC_DNS_TTL" yaml:"ttl" doc:"how long resolvers keep the address: 30s to 60s, less in a local stack"`
	AddressA string        `env:"OFITEC_REGION_A_ADDRESS" yaml:"address_a" doc:"IPv4 address of region a"`
	AddressB string        `env:"OFITEC_REGION_B_ADDRESS" yaml:"address_b" doc:"IPv4 address of region b"`
}

func newDNS() DNS { return DNS{TTL: 30 * time.Second} }

func (d DNS) problems() []error {
	if d.Server == "" {
		return nil
	}
	var problems []error
	check := func(ok bool, variable, value, want string) {
		if !ok {
			problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
		}
	}
	_, _, err := net.SplitHostPort(d.Server)
	check(err == nil, "OFITEC_DNS_SERVER", d.Server, "host:port")
	check(d.Zone != "", "OFITEC_DNS_ZONE", d.Zone, "the zone of OFITEC_DNS_NAME")
	check(d.Name != "", "OFITEC_DNS_NAME", d.Name, "the name that leads to the active region")
	check(d.KeyFile != "", "OFITEC_DNS_KEY_FILE", d.KeyFile, "a file with the TSIG key")
	check(d.TTL >= time.Second && d.TTL <= time.Minute && d.TTL%time.Second == 0, "OFITEC_DNS_TTL", d.TTL.String(), "whole seconds from 1s to 60s")
	check(net.ParseIP(d.AddressA).To4() != nil, "OFITEC_REGION_A_ADDRESS", d.AddressA, "an IPv4 address")
	check(net.ParseIP(d.AddressB).To4() != nil, "OFITEC_REGION_B_ADDRESS", d.AddressB, "an IPv4 address")
	check(d.AddressA != d.AddressB || d.AddressA == "", "OFITEC_REGION_B_ADDRESS", d.AddressB, "another address than region a's")
	return problems
}

// provider is the server with its key; nil where no name is moved.
func (d DNS) provider() (dns.Provider, error) {
	if d.Server == "" {
		return nil, nil
	}
	key, err := dns.ReadKey(d.KeyFile)
	if err != nil {
		return nil, err
	}
	return dns.NewRFC2136(d.Server, d.Zone, key), nil
}

// record is the name as it should be while a region is active under an epoch.
func (d DNS) record(active events.Region, epoch events.Epoch) dns.Record {
	address := d.AddressA
	if active == events.RegionB {
		address = d.AddressB
	}
	return dns.Record{Name: d.Name, Address: address, TTL: d.TTL, Epoch: epoch}
}
