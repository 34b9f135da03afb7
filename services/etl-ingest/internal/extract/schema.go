package extract

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Fingerprint tells sets of columns apart, whatever their order; empty for none.
func Fingerprint(columns []string) string {
	if len(columns) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(columns)), "\n")))
	return hex.EncodeToString(sum[:8])
}

// Drift is how an export's columns differ from those that the models name.
type Drift struct{ New, Missing []string }

// Compare compares the models' columns with an export's.
func Compare(model, export []string) Drift {
	only := func(of, not []string) []string {
		left := slices.DeleteFunc(slices.Sorted(slices.Values(of)), func(name string) bool { return slices.Contains(not, name) })
		return slices.Compact(left)
	}
	return Drift{New: only(export, model), Missing: only(model, export)}
}

// Any says whether there is a difference.
func (d Drift) Any() bool { return len(d.New)+len(d.Missing) > 0 }

// showNames is how many columns a message names.
const showNames = 8

// columnName is what a column's name looks like; what does not could be a row of data in the place of a header, and is not repeated.
var columnName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// String is "new: a, b; missing: c".
func (d Drift) String() string {
	var parts []string
	for _, side := range []struct {
		word  string
		names []string
	}{{"new: ", d.New}, {"missing: ", d.Missing}} {
		var shown []string
		for _, name := range side.names {
			if columnName.MatchString(name) && len(shown) < showNames {
				shown = append(shown, name)
			}
		}
		if more := len(side.names) - len(shown); more > 0 {
			shown = append(shown, fmt.Sprintf("%d more", more))
		}
		if len(side.names) > 0 {
			parts = append(parts, side.word+strings.Join(shown, ", "))
		}
	}
	return strings.Join(parts, "; ")
}
