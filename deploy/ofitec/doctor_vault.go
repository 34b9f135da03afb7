package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// vaultNode is what a node of Vault says of itself.
type vaultNode struct{ Initialized, Sealed, Standby bool }

// vaultFindings ask each region's node, and say what is left when some of them are not there.
func (o *operator) vaultFindings(ctx context.Context) []finding {
	var found []finding
	open, active := 0, false
	for _, r := range layout.Regions {
		node, err := o.vaultNode(ctx, r)
		switch {
		case err != nil:
			found = append(found, finding{"Vault in region " + string(r) + " does not answer", err.Error(), "look at " + o.layout.LogFile(r, "vault")})
		case !node.Initialized:
			found = append(found, finding{"Vault in region " + string(r) + " is empty", "it has lost its data, or is new", "the local stack takes it in within seconds; elsewhere: vault operator raft join, then unseal"})
		case node.Sealed:
			found = append(found, finding{"Vault in region " + string(r) + " is sealed", "its process has restarted", "the local stack opens it by itself within seconds; elsewhere: vault operator unseal"})
		default:
			open++
			active = active || !node.Standby
		}
	}
	switch {
	case active && found != nil:
		found = append(found, finding{fmt.Sprintf("Vault has %d of 3 nodes", open), "the others serve all; the loss of one more stops it", "bring the missing one back now"})
	case !active:
		found = append(found, finding{"no node of Vault is active", fmt.Sprintf("%d of 3 are open, and two must reach each other", open), "credentials in use go on until they end; bring two nodes back, and wait some seconds for their election"})
	}
	return found
}

func (o *operator) vaultNode(ctx context.Context, r layout.Region) (vaultNode, error) {
	var node vaultNode
	address := "https://" + o.layout.Addressing.Addr(r, layout.PortVault) + "/v1/sys/health?standbyok=true&sealedcode=200&uninitcode=200"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return node, fmt.Errorf("make request: %w", err)
	}
	response, err := o.http.Do(request)
	if err != nil {
		return node, err
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&node); err != nil {
		return node, fmt.Errorf("read its health: %w", err)
	}
	return node, nil
}
