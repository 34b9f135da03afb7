package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Names of the services that publish and consume.
const (
	ServiceProbe     = "health-probe"
	ServiceArbiter   = "failover-arbiter"
	ServiceRotator   = "rotator"
	ServiceDeployer  = "deployer"
	ServiceIngest    = "etl-ingest"
	ServiceTransform = "etl-transform"
	ServiceConsole   = "console"
)

// Place says in which regions a service runs.
type Place struct {
	Service string
	Regions []Region
}

// Places lists all services. The console stands outside the regions and acts under the identity of one of them.
var Places = []Place{
	{ServiceProbe, Regions},
	{ServiceArbiter, Regions},
	{ServiceRotator, DataRegions},
	{ServiceDeployer, DataRegions},
	{ServiceIngest, DataRegions},
	{ServiceTransform, DataRegions},
	{ServiceConsole, Regions},
}

// Definition is what the table of design.md section 3 says of one type.
type Definition struct {
	Type       Type
	Stream     string
	Publishers []string // services that may publish it
	Consumers  []string // services that read it through a durable consumer
	Live       []string // services that read it by a plain subscription, since freshness is all that counts there
	Replayers  []string // services that may read the past of its stream
	Audit      bool     // part of the audit trail
	External   bool     // offered to consumers outside OFITEC
	Fenced     bool     // carries the epoch
	Summary    string   // what happened, in one sentence
	New        func() Payload
	decode     func([]byte) (Payload, error)
}

// Definitions lists every type, in the order of design.md.
var Definitions = []Definition{
	define[HealthObserved](StreamHealth, by(ServiceProbe), to(ServiceDeployer, ServiceConsole), live, "An observer has seen how one region does."),
	define[ReplicationObserved](StreamHealth, by(ServiceProbe), to(ServiceConsole), live, "An observer has read where one region's database stands."),

	define[FailoverStarted](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "An intent to fail over is recorded; the old mandate cannot be renewed any more."),
	define[FailoverFenced](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "Nobody can commit in the old region any more."),
	define[FailoverPromoted](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "The target owns the mandate and its database takes writes."),
	define[FailoverSwitched](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "The authoritative DNS server answers with the target."),
	define[FailoverCompleted](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "All steps of a failover are done."),
	define[FailoverAborted](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "An intent to fail over was given up."),
	define[FailoverHeld](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "Something called for a failover and a rule forbade it."),
	define[FailoverRejoined](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "A region that had lost the mandate is a standby again."),
	define[FailoverPaused](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "An operator told the arbiters to decide nothing."),
	define[FailoverResumed](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "An operator told the arbiters to decide again."),
	define[FailoverOverridden](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "An operator took a decision that a rule held back."),
	define[FailoverAcknowledged](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "An operator has seen the last failover; its cooldown ends."),
	define[FailoverSynchronized](StreamFacts, by(ServiceArbiter), to(ServiceConsole), audit, external, "Synchronous replication was asked for, given up, or is in force again."),

	define[CredentialRotated](StreamFacts, by(ServiceRotator), to(ServiceDeployer, ServiceConsole), audit, "A new version of a credential is tested and staged."),
	define[CredentialRenewed](StreamFacts, by(ServiceRotator), to(ServiceDeployer, ServiceConsole), audit, "The lease of a version in use was prolonged."),
	define[CredentialRevoked](StreamFacts, by(ServiceRotator), to(ServiceDeployer, ServiceConsole), audit, "A version opens nothing any more."),
	define[CredentialExpiring](StreamFacts, by(ServiceRotator), to(ServiceDeployer, ServiceConsole), audit, "A version in use nears its deadline and no successor is in sight."),
	define[CredentialDeployed](StreamFacts, by(ServiceDeployer), to(ServiceRotator, ServiceConsole), audit, "The traffic of a region runs on the version."),
	define[CredentialRolledBack](StreamFacts, by(ServiceDeployer), to(ServiceRotator, ServiceConsole), audit, "The version did not pass; the traffic stays on the one before."),
	define[CredentialBreakGlass](StreamFacts, by(ServiceRotator), to(ServiceConsole), audit, "Somebody took a credential by hand."),

	define[ExportReady](StreamFacts, by(ServiceIngest), to(ServiceTransform), "A raw file is durable and may be loaded."),
	define[ExportFailed](StreamFacts, by(ServiceIngest), to(ServiceConsole), "A dataset could not be pulled; the cursor did not move."),

	define[WarehouseLoaded](StreamFacts, by(ServiceTransform), to(ServiceConsole), audit, external, "A micro-batch is in vault and marts."),
	define[WarehouseChecked](StreamFacts, by(ServiceTransform), to(ServiceConsole), audit, external, "The audit of a load is done."),
	define[WarehousePublished](StreamFacts, by(ServiceTransform), to(ServiceConsole), audit, external, "Readers see the load, all marts at once."),
	define[WarehouseRejected](StreamFacts, by(ServiceTransform), to(ServiceConsole), audit, external, "A table check blocked a mart; readers keep the one before."),
	define[WarehouseRevealed](StreamFacts, by(ServiceTransform), to(ServiceConsole), audit, "Somebody looked behind tokens."),

	define[JobRotate](StreamJobs, by(ServiceConsole), to(ServiceRotator), "Rotate one credential now."),
	define[JobExport](StreamJobs, by(ServiceConsole), to(ServiceIngest), "Pull one dataset, or all of them, now."),
}

var byType = func() map[Type]int {
	index := make(map[Type]int, len(Definitions))
	for n, definition := range Definitions {
		index[definition.Type] = n
	}
	return index
}()

// ErrUnknownType is wrapped when an event is of a type that this build does not define.
var ErrUnknownType = errors.New("unknown type")

// Lookup finds a type's definition.
func Lookup(t Type) (Definition, bool) {
	n, found := byType[t]
	if !found {
		return Definition{}, false
	}
	return Definitions[n], true
}

// PublishedBy lists the types that a service publishes; ConsumedBy those that it reads through durable consumers.
func PublishedBy(service string) []Definition {
	return slices.DeleteFunc(slices.Clone(Definitions), func(d Definition) bool { return !slices.Contains(d.Publishers, service) })
}

// ConsumedBy lists the types that a service reads through durable consumers.
func ConsumedBy(service string) []Definition {
	return slices.DeleteFunc(slices.Clone(Definitions), func(d Definition) bool { return !slices.Contains(d.Consumers, service) })
}

type mark func(*Definition)

func by(services ...string) mark { return func(d *Definition) { d.Publishers = services } }
func to(services ...string) mark { return func(d *Definition) { d.Consumers = services } }
func live(d *Definition)         { d.Live = []string{ServiceArbiter} }
func audit(d *Definition)        { d.Audit = true }
func external(d *Definition)     { d.External = true }

// define takes marks and, last, the summary.
func define[P Payload](stream string, parts ...any) Definition {
	var zero P
	d := Definition{Type: zero.Type(), Stream: stream, New: func() Payload { var p P; return p }, decode: decodeAs[P]}
	if stream != StreamJobs {
		d.Replayers = []string{ServiceConsole}
	}
	_, d.Fenced = any(zero).(ofEpoch)
	for _, part := range parts {
		switch part := part.(type) {
		case mark:
			part(&d)
		case func(*Definition):
			part(&d)
		case string:
			d.Summary = part
		}
	}
	return d
}

func decodeAs[P Payload](data []byte) (Payload, error) {
	var payload P
	if err := json.Unmarshal(data, &payload); err != nil {
		return nil, fmt.Errorf("decode payload: %s: %w", payload.Type(), err)
	}
	return payload, nil
}
