package events

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Region is one of the three regions. A and B hold data, C only votes.
type Region string

// The regions of design.md section 1.
const (
	RegionA Region = "a"
	RegionB Region = "b"
	RegionC Region = "c"
)

// Regions lists all regions; DataRegions those that hold data.
var (
	Regions     = []Region{RegionA, RegionB, RegionC}
	DataRegions = []Region{RegionA, RegionB}
)

// Valid says whether r is one of the three regions.
func (r Region) Valid() bool { return slices.Contains(Regions, r) }

// HoldsData says whether r is a region that can be active.
func (r Region) HoldsData() bool { return slices.Contains(DataRegions, r) }

// Peer is the other data region; of a region without data it is the empty region.
func (r Region) Peer() Region {
	switch r {
	case RegionA:
		return RegionB
	case RegionB:
		return RegionA
	}
	return ""
}

// Epoch is the fencing number: it grows by one at each change of the mandate's owner, and every actuator refuses a smaller one.
// Zero is no epoch.
type Epoch uint64

// String is the epoch's 20 digits, as it stands in a CloudEvents extension, where numbers have 32 bits only.
// Texts of this form sort as the numbers do.
func (e Epoch) String() string {
	digits := strconv.FormatUint(uint64(e), 10)
	return "00000000000000000000"[:20-len(digits)] + digits
}

// ParseEpoch reads the 20 digits that String writes, and nothing else.
func ParseEpoch(text string) (Epoch, error) {
	if len(text) != 20 || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("parse epoch: %q is not a number of 20 digits", text)
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parse epoch: %q does not fit 64 bits", text)
	}
	return Epoch(number), nil
}

// LSN is a position in PostgreSQL's write-ahead log, in bytes. In text and JSON it is written as PostgreSQL does: "0/16B3748".
// Zero is PostgreSQL's invalid position: nothing known.
type LSN uint64

// String writes the position as PostgreSQL does.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// ParseLSN reads a position as PostgreSQL writes it.
func ParseLSN(text string) (LSN, error) {
	high, low, found := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if !found || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("parse WAL position: %q is not of the form 0/16B3748", text)
	}
	return LSN(h<<32 | l), nil
}

// MarshalText implements encoding.TextMarshaler.
func (l LSN) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LSN) UnmarshalText(text []byte) error {
	parsed, err := ParseLSN(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
