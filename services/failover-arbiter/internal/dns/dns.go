// Package dns moves the public name to the active region and reads back what the authoritative server answers (protocol.md, DNS). The epoch stands beside
// the name, as TXT at _epoch.<name>, so that whoever acts under an older one changes nothing.
package dns

import (
	"context"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Record is the name as it should be, or as it is. What a server does not hold is empty.
type Record struct {
	Name    string
	Address string
	TTL     time.Duration
	Epoch   events.Epoch
}

// Provider holds the name. Both calls may be made by several arbiters at once and can be repeated at any time; deadlines are the context's, and nothing is
// tried twice: whoever calls compares Lookup with what the state says, and sets again until they agree.
type Provider interface {
	// Set puts the record in place, all of it or nothing. An epoch below the one that stands there is a *SmallerError, a change by somebody else in between
	// ErrChanged. After any other error nobody knows; Lookup tells.
	Set(ctx context.Context, r Record) error
	// Lookup asks the authoritative server, past all caches.
	Lookup(ctx context.Context, name string) (Record, error)
}

// SmallerError is an epoch below the one that stands beside the name: its sender acts on the past.
type SmallerError struct{ Asked, Seen events.Epoch }

func (e *SmallerError) Error() string {
	return fmt.Sprintf("epoch %d is below epoch %d, which stands beside the name", e.Asked, e.Seen)
}
