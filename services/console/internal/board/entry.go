package board

import (
	"github.com/ofitec/ofitec/events"
)

// entryOf is a fact's line in the list. The brief has what the page's sentence about this type needs; a reason stands as it was published.
func entryOf(in Fact) Entry {
	_, _, entity, _ := split(in.Event.Subject)
	e := Entry{
		Sequence: in.Sequence, At: in.Event.Time, Type: in.Event.Type.Domain() + "." + in.Event.Type.Fact(), Domain: in.Event.Type.Domain(),
		Region: in.Event.Region, Entity: entity, Level: "info",
	}
	switch in.Event.Type.Domain() {
	case "failover":
		e.Level, e.Brief = failoverBrief(in.Payload)
	case "credential":
		e.Level, e.Brief = credentialBrief(in.Payload)
	default:
		e.Level, e.Brief = warehouseBrief(in.Payload)
	}
	return e
}

func split(subject string) (events.Region, events.Type, string, error) {
	return events.ParseSubject(subject)
}

func failoverBrief(payload events.Payload) (string, map[string]any) {
	switch e := payload.(type) {
	case events.FailoverStarted:
		return "warn", map[string]any{"from": e.From, "to": e.To, "cause": e.Cause, "epoch": e.Epoch}
	case events.FailoverFenced:
		return "info", map[string]any{"from": e.From, "manner": e.Manner, "seconds": e.Waited}
	case events.FailoverPromoted:
		return "info", map[string]any{"to": e.To, "epoch": e.Epoch, "timeline": e.Timeline}
	case events.FailoverSwitched:
		return "info", map[string]any{"name": e.Name, "address": e.Address}
	case events.FailoverCompleted:
		return "good", map[string]any{"to": e.To, "epoch": e.Epoch, "seconds": e.Times.Total}
	case events.FailoverAborted:
		return "bad", map[string]any{"to": e.To, "reason": e.Reason}
	case events.FailoverHeld:
		return "warn", map[string]any{"rule": e.Rule, "reason": e.Reason}
	case events.FailoverRejoined:
		return "good", map[string]any{"region": e.Region, "manner": e.Manner, "bytes": e.Discarded}
	case events.FailoverPaused:
		return "warn", map[string]any{"actor": e.Act.Actor, "reason": e.Act.Reason}
	case events.FailoverResumed:
		return "info", map[string]any{"actor": e.Act.Actor, "reason": e.Act.Reason}
	case events.FailoverOverridden:
		return "warn", map[string]any{"actor": e.Act.Actor, "reason": e.Act.Reason, "to": e.To}
	case events.FailoverAcknowledged:
		return "info", map[string]any{"actor": e.Act.Actor, "reason": e.Act.Reason}
	case events.FailoverSynchronized:
		level := "info"
		if e.Wanted && e.Mode == "off" && e.Act == nil {
			level = "warn"
		}
		return level, map[string]any{"mode": e.Mode, "reason": e.Cause}
	}
	return "info", nil
}

func credentialBrief(payload events.Payload) (string, map[string]any) {
	switch e := payload.(type) {
	case events.CredentialRotated:
		return "info", map[string]any{"version": e.Version, "trigger": e.Trigger}
	case events.CredentialRenewed:
		return "info", map[string]any{"version": e.Version, "seconds": e.Lease.TTLSeconds}
	case events.CredentialRevoked:
		return "info", map[string]any{"version": e.Version, "cause": e.Cause, "sessions": e.SessionsEnded}
	case events.CredentialExpiring:
		level := "warn"
		if e.Level == "page" {
			level = "bad"
		}
		return level, map[string]any{"version": e.Version, "seconds": e.SecondsLeft, "reason": e.Reason}
	case events.CredentialDeployed:
		return "good", map[string]any{"version": e.Version, "region": e.Region, "colour": e.Colour}
	case events.CredentialRolledBack:
		return "bad", map[string]any{"version": e.Version, "region": e.Region, "step": e.Step, "reason": e.Reason}
	case events.CredentialBreakGlass:
		return "warn", map[string]any{"version": e.Version, "actor": e.Act.Actor, "reason": e.Act.Reason}
	}
	return "info", nil
}

func warehouseBrief(payload events.Payload) (string, map[string]any) {
	switch e := payload.(type) {
	case events.ExportReady:
		return "info", map[string]any{"rows": e.Rows, "bytes": e.Bytes}
	case events.ExportFailed:
		return "bad", map[string]any{"code": e.Code, "reason": e.Reason, "attempts": e.Attempts}
	case events.WarehouseLoaded:
		return "info", map[string]any{"load": e.Load.Load, "rows": e.Written.Rows, "batches": len(e.Batches)}
	case events.WarehouseChecked:
		failed, quarantined := 0, int64(0)
		for _, m := range e.Marts {
			failed, quarantined = failed+m.Failed, quarantined+m.Quarantined
		}
		level := "info"
		if failed > 0 || quarantined > 0 {
			level = "warn"
		}
		return level, map[string]any{"load": e.Load.Load, "marts": len(e.Marts), "failed": failed, "quarantined": quarantined}
	case events.WarehousePublished:
		return "good", map[string]any{"load": e.Load.Load, "marts": len(e.Marts), "seconds": e.Seconds}
	case events.WarehouseRejected:
		return "bad", map[string]any{"mart": e.Mart, "check": e.Check, "reason": e.Reason}
	case events.WarehouseRevealed:
		return "warn", map[string]any{"actor": e.Act.Actor, "reason": e.Act.Reason, "kind": e.Kind, "tokens": e.Tokens}
	}
	return "info", nil
}
