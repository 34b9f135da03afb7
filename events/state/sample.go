package state

import "time"

// Sample is one reading of the gates as it was judged: what the canary did, and the colour with traffic as a control.
type Sample struct {
	At      time.Time `json:"at"`
	Verdict string    `json:"verdict"`          // green, red or inconclusive
	Weight  int       `json:"weight,omitempty"` // percent of the traffic that the canary had
	Reason  string    `json:"reason,omitempty"` // of a verdict that is not green
	Canary  Figures   `json:"canary"`
	Control Figures   `json:"control"`
}

// Figures are one colour's in a sample: what Prometheus says, null where it says nothing, and the deployer's own requests.
type Figures struct {
	Up        *bool    `json:"up"`
	ErrorRate *float64 `json:"error_rate"` // a fraction
	P95       *float64 `json:"p95_seconds"`
	Sent      int      `json:"sent"`
	Failed    int      `json:"failed"`
	Slowest   float64  `json:"slowest_seconds"`
}

// Limits are the bars that figures stay below.
type Limits struct {
	ErrorRate float64 `json:"error_rate"`
	P95       float64 `json:"p95_seconds"`
}

// MaxSamples is how many samples a deployment keeps; the oldest go first.
const MaxSamples = 240
