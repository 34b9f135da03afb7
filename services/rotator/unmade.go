package main

import (
	"errors"
	"fmt"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

// unmade says why no version of a kind could be made, in words that may be kept for 400 days and read by others: our own, and a number. What a server said, with its
// addresses, stands in the log.
func unmade(kind events.CredentialKind, err error) string {
	if err == nil {
		return ""
	}
	var malformed *vault.MalformedError
	if errors.As(err, &malformed) {
		return malformed.Error()
	}
	if status := vault.Refusal(err); status != 0 {
		return fmt.Sprintf("kind %s: Vault refuses with status %d; the rotator's log has its words", kind, status)
	}
	var refused interface{ HTTPStatusCode() int } // the cloud's
	if errors.As(err, &refused) && refused.HTTPStatusCode() != 0 {
		return fmt.Sprintf("kind %s: the cloud refuses with status %d; the rotator's log has its words", kind, refused.HTTPStatusCode())
	}
	return fmt.Sprintf("kind %s: no answer that could be used; the rotator's log has the words", kind)
}
