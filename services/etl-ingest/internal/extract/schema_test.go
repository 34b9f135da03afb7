package extract

import (
	"strings"
	"testing"
)

func TestColumnsAreToldApartWhateverTheirOrder(t *testing.T) {
	if Fingerprint([]string{"a", "b"}) != Fingerprint([]string{"b", "a"}) || Fingerprint([]string{"a", "b"}) == Fingerprint([]string{"a", "bc"}) || Fingerprint(nil) != "" {
		t.Error("the fingerprints are wrong")
	}
}

func TestDriftNamesColumnsAndRepeatsNothingElse(t *testing.T) {
	d := Compare([]string{"id", "name", "at"}, []string{"at", "id", "discount", "76.000.000-0"})
	if got := d.String(); got != "new: discount, 1 more; missing: name" || !d.Any() {
		t.Errorf("it says %q", got)
	}
	if d := Compare([]string{"id", "at"}, []string{"at", "id"}); d.Any() || d.String() != "" {
		t.Errorf("no difference, and it says %q", d)
	}
	if got := Compare(nil, strings.Fields("a b c d e f g h i j")).String(); got != "new: a, b, c, d, e, f, g, h, 2 more" {
		t.Errorf("it says %q", got)
	}
}
