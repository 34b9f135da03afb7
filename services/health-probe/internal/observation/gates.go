package observation

import (
	"fmt"
	"math"
	"strings"

	"github.com/ofitec/ofitec/events"
)

// The gates of design.md section 4, the same as in the rule gate:healthy.
const (
	maxP95       = 1.2
	maxErrorRate = 0.01
	maxLag       = 900
)

// judge reads gate:healthy together with its parts. One red part is enough for failed, all green ones and the gate's own word are needed for ok;
// a part without a value, and a gate that contradicts its parts, are unknown.
func judge(result Result) events.Gates {
	if result.Readings == nil {
		reason := result.Reason
		if reason == "" {
			reason = "Prometheus has no readings"
		}
		return events.Gates{Healthy: events.OutcomeUnknown, Reason: reason}
	}
	r := result.Readings
	gates := events.Gates{P95Seconds: number(r.P95, math.MaxFloat64), ErrorRate: number(r.ErrorRate, 1), ReplicationLag: number(r.ReplicationLag, math.MaxFloat64)}
	if up := number(r.OdooUp, 1); up != nil {
		answers := *up == 1
		gates.OdooUp = &answers
	}
	gates.Healthy, gates.Reason = conjunction(gates, number(r.Healthy, 1))
	return gates
}

func conjunction(g events.Gates, gate *float64) (events.Outcome, string) {
	red, missing := parts(g)
	says := "says nothing"
	if gate != nil {
		says = fmt.Sprintf("is %g", *gate)
	}
	switch {
	case len(red) > 0 && (gate == nil || *gate == 0):
		return events.OutcomeFailed, strings.Join(red, "; ")
	case len(red) > 0:
		return events.OutcomeUnknown, "gate:healthy " + says + ", but " + strings.Join(red, "; ")
	case len(missing) > 0:
		return events.OutcomeUnknown, "no data for " + strings.Join(missing, ", ")
	case gate == nil || *gate != 1:
		return events.OutcomeUnknown, "gate:healthy " + says + ", but all its parts are green"
	}
	return events.OutcomeOK, ""
}

// parts names the gates that are red and those that are not known.
func parts(g events.Gates) (red, missing []string) {
	limit := func(name string, value *float64, below float64) {
		switch {
		case value == nil:
			missing = append(missing, name)
		case *value >= below:
			red = append(red, fmt.Sprintf("%s is %.4g, want less than %g", name, *value, below))
		}
	}
	switch {
	case g.OdooUp == nil:
		missing = append(missing, "up of odoo")
	case !*g.OdooUp:
		red = append(red, "neither colour of Odoo answers Prometheus")
	}
	limit("odoo:p95_5m", g.P95Seconds, maxP95)
	limit("odoo:error_rate_5m", g.ErrorRate, maxErrorRate)
	limit("db:replication_lag_seconds", g.ReplicationLag, maxLag)
	return red, missing
}

// number drops what cannot be: not a number, infinite, negative, or above the most that the part can be.
func number(value *float64, most float64) *float64 {
	if value == nil || !(*value >= 0) || *value > most || math.IsInf(*value, 0) {
		return nil
	}
	return value
}
