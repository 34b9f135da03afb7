package main

import (
	"context"
	"fmt"
	"net"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
)

// dialer opens a connection to an IP address, from wherever it stands.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// outside stands outside of all regions, as the operator does.
func outside(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// within stands in a region: in its namespace, or where there are none at its address.
func within(l layout.Layout, r layout.Region) dialer {
	if l.Addressing.Namespaces {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			return netns.Dial(ctx, r, network, address)
		}
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		from := net.Dialer{}
		if ip := net.ParseIP(l.Addressing.Region[r]); network == "udp" {
			from.LocalAddr = &net.UDPAddr{IP: ip}
		} else {
			from.LocalAddr = &net.TCPAddr{IP: ip}
		}
		return from.DialContext(ctx, network, address)
	}
}

// lookup asks one server for the address of the name that a failover flips.
func lookup(ctx context.Context, server string) (string, error) {
	return lookupFrom(ctx, outside, server)
}

func lookupFrom(ctx context.Context, dial dialer, server string) (string, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, server)
	}}
	addresses, err := resolver.LookupHost(ctx, layout.Name+".")
	if err != nil {
		return "", err
	}
	if len(addresses) != 1 {
		return "", fmt.Errorf("%s has %d addresses, want 1", layout.Name, len(addresses))
	}
	return addresses[0], nil
}
