package main

import (
	"context"
	"fmt"
	"net"
)

// lookup asks one server for the address of a name.
func lookup(ctx context.Context, server, name string) (string, error) {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	addresses, err := resolver.LookupHost(ctx, name+".")
	if err != nil {
		return "", err
	}
	if len(addresses) != 1 {
		return "", fmt.Errorf("%s has %d addresses, want 1", name, len(addresses))
	}
	return addresses[0], nil
}
