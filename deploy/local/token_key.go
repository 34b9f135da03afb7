package local

import (
	"context"
	"crypto/tls"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// tokenKey is the secret's name at the operator.
const tokenKey = "token-key"

// PrepareTokenKey makes the next key of personal-data tokens and puts it beside the one that the regions' etl-transforms use.
func PrepareTokenKey(l layout.Layout) error {
	owners, err := findOwners()
	if err != nil {
		return err
	}
	return identity.PrepareSuccessor(l, owners.forIdentity(), tokenKey)
}

// PromoteTokenKey puts the next key in the place of the one before it, in Vault and in the identity folders, when every warehouse is by it.
func PromoteTokenKey(ctx context.Context, l layout.Layout, config *tls.Config) error {
	owners, err := findOwners()
	if err != nil {
		return err
	}
	next, err := identity.Successor(l, tokenKey)
	if err != nil {
		return err
	}
	if err := bootstrap.NextTokenKey(ctx, l, config, next); err != nil {
		return err
	}
	return identity.Succeed(l, owners.forIdentity(), tokenKey)
}
