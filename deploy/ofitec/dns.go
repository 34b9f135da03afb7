package main

import (
	"context"
	"fmt"
	"net"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// lookup asks one server for the address of the name that a failover flips.
func lookup(ctx context.Context, server string) (string, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
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
