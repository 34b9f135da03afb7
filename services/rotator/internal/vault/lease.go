package vault

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// Renew asks for another life, longer or shorter, from now. Gone means that there is no such lease any more.
func (e *Engine) Renew(ctx context.Context, lease string, ttl time.Duration) (granted time.Duration, gone bool, err error) {
	answer, err := e.client.Sys().RenewWithContext(ctx, lease, int(ttl/time.Second))
	if isGone(err) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("renew lease: %w", err)
	}
	switch {
	case answer == nil || answer.LeaseID == "":
		return 0, false, errors.New("renew lease: Vault's answer is malformed: lease_id is missing: want the one that was asked for")
	case answer.LeaseID != lease:
		return 0, false, fmt.Errorf("renew lease: Vault's answer is malformed: lease_id is %s: want the one that was asked for", answer.LeaseID)
	case answer.LeaseDuration <= 0 || answer.LeaseDuration > math.MaxInt64/int(time.Second):
		return 0, false, fmt.Errorf("renew lease: Vault's answer is malformed: lease_duration is %d: want a number of seconds above 0", answer.LeaseDuration)
	}
	return time.Duration(answer.LeaseDuration) * time.Second, false, nil
}

// isGone reads Vault's answer about a lease that has ended, or that it has never known.
func isGone(err error) bool {
	var refused *api.ResponseError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusBadRequest {
		return false
	}
	text := strings.Join(refused.Errors, " ")
	return strings.Contains(text, "lease not found") || strings.Contains(text, "lease expired") || strings.Contains(text, "invalid lease")
}

// Revoke ends a lease and returns when its user is no more. One that is not there is ended already.
func (e *Engine) Revoke(ctx context.Context, lease string) error {
	if err := e.client.Sys().RevokeWithOptionsWithContext(ctx, &api.RevokeOptions{LeaseID: lease, Sync: true}); err != nil && !isGone(err) {
		return fmt.Errorf("revoke lease: %w", err)
	}
	return nil
}

// Leases lists the living leases of the application's role.
func (e *Engine) Leases(ctx context.Context) ([]string, error) {
	prefix := "database/creds/" + e.role + "/"
	answer, err := e.client.Logical().ListWithContext(ctx, "sys/leases/lookup/"+prefix)
	if err != nil {
		return nil, fmt.Errorf("list leases of role %s: %w", e.role, err)
	}
	if answer == nil {
		return nil, nil
	}
	keys, ok := answer.Data["keys"].([]any)
	if !ok {
		return nil, fmt.Errorf("list leases of role %s: Vault's answer has no list of keys", e.role)
	}
	var leases []string
	for _, key := range keys {
		leases = append(leases, prefix+fmt.Sprint(key))
	}
	return leases, nil
}

// Issued is when a lease was made; gone means that there is none.
func (e *Engine) Issued(ctx context.Context, lease string) (at time.Time, gone bool, err error) {
	answer, err := e.client.Sys().LookupWithContext(ctx, lease)
	if isGone(err) {
		return at, true, nil
	}
	if err != nil {
		return at, false, fmt.Errorf("look up lease: %w", err)
	}
	if answer == nil {
		return at, false, errors.New("look up lease: Vault's answer is empty")
	}
	text, _ := answer.Data["issue_time"].(string)
	if at, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return at, false, fmt.Errorf("look up lease: issue_time: %w", err)
	}
	return at, false, nil
}
