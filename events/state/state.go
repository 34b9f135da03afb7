// Package state owns the JSON that stands in etcd under /ofitec: its keys, its structs, and a strict encoding.
//
// Every document carries its version. Decode refuses another version and unknown fields: a reader that dropped a field that it does not know would erase it
// at its next compare-and-swap. Encode refuses a document that does not hold together. The package does no I/O and may be used from many goroutines at once.
package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ofitec/ofitec/events"
)

// Keys of single documents.
const (
	KeyActive   = "/ofitec/active"             // "A" or "B", see EncodeActive
	KeyFailover = "/ofitec/failover/state"     // Failover
	KeyMandate  = "/ofitec/failover/mandate"   // Mandate
	KeyConfig   = "/ofitec/failover/config"    // Config
	KeyLeader   = "/ofitec/failover/leader"    // the election's own, by chassis/etcd
	KeyRotator  = "/ofitec/rotator/leader"     // the election's own, by chassis/etcd
	PrefixAll   = "/ofitec/"                   // everything
	PrefixFail  = "/ofitec/failover/"          // everything of the arbiters
	PrefixReq   = "/ofitec/failover/requests/" // Request, one a key
	PrefixCred  = "/ofitec/credentials/"       // Credential, one a key
	PrefixDepl  = "/ofitec/deployments/"       // Deployment, by region and name
	PrefixOut   = "/ofitec/outbox/"            // events to be published, by service
)

// RequestKey is the key of a manual request.
func RequestKey(id string) string { return PrefixReq + id }

// CredentialKey is the key of a credential's state.
func CredentialKey(name string) string { return PrefixCred + name }

// DeploymentKey is the key of a credential's rollout in a region.
func DeploymentKey(region events.Region, name string) string {
	return PrefixDepl + string(region) + "/" + name
}

// OutboxPrefix is where a service's events wait until they are published.
func OutboxPrefix(service string) string { return PrefixOut + service + "/" }

// Document is a value that stands under one key.
type Document interface {
	// Kind names the document in errors.
	Kind() string
	// Validate returns an *events.InvalidError with every problem, or nil.
	Validate() error
}

// ErrVersion is wrapped by Decode when a document is of a version that this program does not know.
var ErrVersion = errors.New("unknown version")

// V1 is the version field of documents of version 1. It needs no value: it always writes 1 and reads nothing else.
type V1 struct{}

// MarshalJSON implements json.Marshaler.
func (V1) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (*V1) UnmarshalJSON(data []byte) error {
	if string(data) != "1" {
		return fmt.Errorf("%w: version is %s, want 1", ErrVersion, data)
	}
	return nil
}

// Encode writes a document after it has checked it.
func Encode(doc Document) ([]byte, error) {
	if err := doc.Validate(); err != nil {
		return nil, fmt.Errorf("encode state: %w", err)
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode state: %s: %w", doc.Kind(), err)
	}
	return data, nil
}

// Decode reads a document strictly: one JSON object of the known version, no unknown fields, nothing behind it, and what it says holds together.
func Decode[T Document](data []byte) (T, error) {
	var doc, none T
	var head struct {
		Version *json.RawMessage `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return none, fmt.Errorf("decode state: %s: %w", doc.Kind(), err)
	}
	if head.Version == nil || string(*head.Version) != "1" {
		return none, fmt.Errorf("decode state: %s: %w: version is %s, want 1", doc.Kind(), ErrVersion, versionText(head.Version))
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return none, fmt.Errorf("decode state: %s: %w", doc.Kind(), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return none, fmt.Errorf("decode state: %s: more data behind the document", doc.Kind())
	}
	if err := doc.Validate(); err != nil {
		return none, fmt.Errorf("decode state: %w", err)
	}
	return doc, nil
}

func versionText(version *json.RawMessage) string {
	if version == nil {
		return "missing"
	}
	return string(*version)
}

// EncodeActive writes /ofitec/active as the earlier delivery had it: the region's letter in upper case. The empty region, nobody, is the empty text.
func EncodeActive(region events.Region) ([]byte, error) {
	switch region {
	case events.RegionA:
		return []byte("A"), nil
	case events.RegionB:
		return []byte("B"), nil
	case "":
		return []byte{}, nil
	}
	return nil, fmt.Errorf("encode active region: %q is none of a, b", string(region))
}

// DecodeActive reads /ofitec/active.
func DecodeActive(data []byte) (events.Region, error) {
	switch string(data) {
	case "A":
		return events.RegionA, nil
	case "B":
		return events.RegionB, nil
	case "":
		return "", nil
	}
	return "", fmt.Errorf("decode active region: %q is none of A, B", data)
}
