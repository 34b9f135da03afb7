// Package dns moves the public name to the active region and reads back what the authoritative server answers (protocol.md, DNS). The epoch stands beside
// the name, as TXT at _epoch.<name>, so that whoever acts under an older one changes nothing.
package dns

import (
	"context"
	"errors"
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

	// AddressOnly: this is of a provider that takes an address and nothing else. Epoch is zero and TTL is the provider's.
	AddressOnly bool
}

// Agrees says whether what was found is what is wanted, as far as the provider can hold it.
func (r Record) Agrees(want Record) bool {
	if r.AddressOnly {
		return r.Name == want.Name && r.Address == want.Address
	}
	return r == want
}

// Provider holds the name. Both calls may be made by several arbiters at once and can be repeated at any time; deadlines are the context's, and nothing is
// tried twice: whoever calls compares Lookup with what the state says, and sets again until they agree.
type Provider interface {
	// Set puts the record in place, all of it or nothing where the provider can. An epoch below the one that stands there is a *SmallerError, a change by somebody else in between
	// ErrChanged; a provider that asks for peace gives a *BusyError. After any other error nobody knows; Lookup tells.
	Set(ctx context.Context, r Record) error
	// Lookup asks the authoritative server, past all caches.
	Lookup(ctx context.Context, name string) (Record, error)
}

// ErrChanged says that somebody else has changed the name between the look and the update.
var ErrChanged = errors.New("the name was changed by somebody else meanwhile")

// SmallerError is an epoch below the one that stands beside the name: its sender acts on the past.
type SmallerError struct{ Asked, Seen events.Epoch }

func (e *SmallerError) Error() string {
	return fmt.Sprintf("epoch %d is below epoch %d, which stands beside the name", e.Asked, e.Seen)
}

// BusyError is a provider that has had too many requests. It is left alone for that long.
type BusyError struct {
	Provider string
	For      time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s has had too many requests and is left alone for %s", e.Provider, e.For)
}
