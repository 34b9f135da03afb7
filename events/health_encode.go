package events

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// fastEncoder is a payload that writes its own JSON, the same bytes as encoding/json: observations are nearly all that is published, and reflection was
// half of what publishing one costs. ok is false where encoding/json must decide (a number that JSON does not have).
type fastEncoder interface {
	appendJSON(b []byte) (text []byte, ok bool)
}

func marshal(payload Payload) (json.RawMessage, error) {
	if fast, is := payload.(fastEncoder); is {
		if text, ok := fast.appendJSON(make([]byte, 0, 768)); ok {
			return text, nil
		}
	}
	return json.Marshal(payload)
}

func (p HealthObserved) appendJSON(b []byte) ([]byte, bool) {
	if year := p.ObservedAt.Year(); year < 1 || year > 9999 || !p.finite() {
		return nil, false
	}
	b = append(b, '{')
	b = appendField(b, "observer", string(p.Observer))
	b = appendField(append(b, ','), "incarnation", p.Incarnation)
	b = strconv.AppendInt(append(b, `,"number":`...), p.Number, 10)
	b = appendField(append(b, ','), "target", string(p.Target))
	b = p.ObservedAt.AppendFormat(append(b, `,"observed_at":"`...), time.RFC3339Nano)
	b = appendField(append(b, `",`...), "verdict", string(p.Verdict))
	b = append(b, `,"checks":{`...)
	first := true
	for _, check := range p.Checks.named() {
		if check.result == nil {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(b, '"'), check.name...), `":`...)
		b = check.result.appendJSON(b)
	}
	b = strconv.AppendInt(append(b, `},"failures_in_row":`...), int64(p.FailuresInRow), 10)
	b = strconv.AppendInt(append(b, `,"successes_in_row":`...), int64(p.SuccessesInRow), 10)
	if p.Gates != nil {
		b = p.Gates.appendJSON(append(b, `,"gates":`...))
	}
	if p.Resolved != "" {
		b = appendField(append(b, ','), "resolved_address", p.Resolved)
	}
	return append(b, '}'), true
}

func (p HealthObserved) finite() bool {
	sum := 0.0
	for _, check := range p.Checks.named() {
		if check.result != nil {
			sum += check.result.Latency * 0 // NaN unless finite
		}
	}
	if g := p.Gates; g != nil {
		for _, part := range [...]*float64{g.P95Seconds, g.ErrorRate, g.ReplicationLag} {
			if part != nil {
				sum += *part * 0
			}
		}
	}
	return !math.IsNaN(sum)
}

func (r CheckResult) appendJSON(b []byte) []byte {
	b = appendField(append(b, '{'), "outcome", string(r.Outcome))
	if r.Reason != "" {
		b = appendField(append(b, ','), "reason", r.Reason)
	}
	b = appendNumber(append(b, `,"latency_seconds":`...), r.Latency)
	return append(b, '}')
}

func (g Gates) appendJSON(b []byte) []byte {
	b = appendField(append(b, '{'), "healthy", string(g.Healthy))
	if g.Reason != "" {
		b = appendField(append(b, ','), "reason", g.Reason)
	}
	b = appendMaybe(append(b, `,"p95_seconds":`...), g.P95Seconds)
	b = appendMaybe(append(b, `,"error_rate":`...), g.ErrorRate)
	b = append(b, `,"odoo_up":`...)
	if g.OdooUp == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendBool(b, *g.OdooUp)
	}
	b = appendMaybe(append(b, `,"replication_lag_seconds":`...), g.ReplicationLag)
	return append(b, '}')
}

func appendMaybe(b []byte, number *float64) []byte {
	if number == nil {
		return append(b, "null"...)
	}
	return appendNumber(b, *number)
}

// appendNumber leaves the rare forms with an exponent to encoding/json.
func appendNumber(b []byte, number float64) []byte {
	if size := math.Abs(number); size != 0 && (size < 1e-6 || size >= 1e21) {
		text, _ := json.Marshal(number) // it is finite
		return append(b, text...)
	}
	return strconv.AppendFloat(b, number, 'f', -1, 64)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(append(b, '"'), name...), `":`...)
	for n := range len(value) {
		if c := value[n]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(value) // a string always encodes
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), value...), '"')
}
