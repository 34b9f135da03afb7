package events

import (
	"fmt"
	"strings"
)

// Type is a CloudEvents type: "com.ofitec.<domain>.<fact>.v<version>".
type Type string

// The types of design.md section 3.
const (
	TypeHealthObserved      Type = "com.ofitec.health.observed.v1"
	TypeReplicationObserved Type = "com.ofitec.replication.observed.v1"

	TypeFailoverStarted   Type = "com.ofitec.failover.started.v1"
	TypeFailoverFenced    Type = "com.ofitec.failover.fenced.v1"
	TypeFailoverPromoted  Type = "com.ofitec.failover.promoted.v1"
	TypeFailoverSwitched  Type = "com.ofitec.failover.switched.v1"
	TypeFailoverCompleted Type = "com.ofitec.failover.completed.v1"
	TypeFailoverAborted   Type = "com.ofitec.failover.aborted.v1"
	TypeFailoverHeld      Type = "com.ofitec.failover.held.v1"
	TypeFailoverRejoined  Type = "com.ofitec.failover.rejoined.v1"

	TypeFailoverPaused       Type = "com.ofitec.failover.paused.v1"
	TypeFailoverResumed      Type = "com.ofitec.failover.resumed.v1"
	TypeFailoverOverridden   Type = "com.ofitec.failover.overridden.v1"
	TypeFailoverAcknowledged Type = "com.ofitec.failover.acknowledged.v1"
	TypeFailoverSynchronized Type = "com.ofitec.failover.synchronized.v1"

	TypeCredentialRotated    Type = "com.ofitec.credential.rotated.v1"
	TypeCredentialRenewed    Type = "com.ofitec.credential.renewed.v1"
	TypeCredentialRevoked    Type = "com.ofitec.credential.revoked.v1"
	TypeCredentialExpiring   Type = "com.ofitec.credential.expiring.v1"
	TypeCredentialDeployed   Type = "com.ofitec.credential.deployed.v1"
	TypeCredentialRolledBack Type = "com.ofitec.credential.rolledback.v1"
	TypeCredentialBreakGlass Type = "com.ofitec.credential.breakglass.v1"

	TypeExportReady  Type = "com.ofitec.export.ready.v1"
	TypeExportFailed Type = "com.ofitec.export.failed.v1"

	TypeWarehouseLoaded    Type = "com.ofitec.warehouse.loaded.v1"
	TypeWarehouseChecked   Type = "com.ofitec.warehouse.checked.v1"
	TypeWarehousePublished Type = "com.ofitec.warehouse.published.v1"
	TypeWarehouseRejected  Type = "com.ofitec.warehouse.rejected.v1"
	TypeWarehouseRevealed  Type = "com.ofitec.warehouse.revealed.v1"

	TypeJobRotate Type = "com.ofitec.job.rotate.v1"
	TypeJobExport Type = "com.ofitec.job.export.v1"
)

const typePrefix = "com.ofitec."

// Name is the type without "com.ofitec.": "<domain>.<fact>.v<version>", as it stands in subjects and file names.
func (t Type) Name() string { return strings.TrimPrefix(string(t), typePrefix) }

// Domain is what the type is about: health, failover, credential ...
func (t Type) Domain() string {
	domain, _, _ := strings.Cut(t.Name(), ".")
	return domain
}

// Fact is what happened, or for a command what shall happen.
func (t Type) Fact() string {
	_, rest, _ := strings.Cut(t.Name(), ".")
	fact, _, _ := strings.Cut(rest, ".")
	return fact
}

// DataSchema is the URI that names the payload's JSON Schema; the schema itself is schema/<Name>.json.
func (t Type) DataSchema() string { return "urn:ofitec:schema:" + string(t) }

// Source is the CloudEvents source of a service in a region: "/ofitec/<region>/<service>".
func Source(region Region, service string) string {
	return "/ofitec/" + string(region) + "/" + service
}

// Subject is where an event is published: "ofitec.<region>.<domain>.<fact>.v<version>.<entity>".
func Subject(region Region, t Type, entity string) string {
	return "ofitec." + string(region) + "." + t.Name() + "." + entity
}

// Filter is the subject filter of a type; the empty region means all regions.
func Filter(region Region, t Type) string {
	if region == "" {
		return "ofitec.*." + t.Name() + ".>"
	}
	return "ofitec." + string(region) + "." + t.Name() + ".>"
}

// ParseSubject takes a subject apart. It refuses what Subject would not write; it does not ask whether the type is known.
func ParseSubject(subject string) (Region, Type, string, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 6 || tokens[0] != "ofitec" {
		return "", "", "", fmt.Errorf("parse subject: %q is not of the form ofitec.<region>.<domain>.<fact>.v<version>.<entity>", subject)
	}
	region := Region(tokens[1])
	if !region.Valid() {
		return "", "", "", fmt.Errorf("parse subject: region %q of %q is none of a, b, c", tokens[1], subject)
	}
	if !IsToken(tokens[5]) {
		return "", "", "", fmt.Errorf("parse subject: entity %q of %q is not made of letters, digits, '-' and '_'", tokens[5], subject)
	}
	return region, Type(typePrefix + strings.Join(tokens[2:5], ".")), tokens[5], nil
}
