package webhook

import (
	"slices"
	"testing"
	"time"
)

func TestTheSecretBeforeIsGoodUntilTheOverlapIsOver(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	newest, before := Version{Number: 3, Text: "new", Made: noon}, Version{Number: 1, Text: "old", Made: noon.Add(-time.Hour)}
	for _, c := range []struct {
		name           string
		newest, before Version
		after          time.Duration
		want           []string
	}{
		{"at once", newest, before, 0, []string{"new", "old"}},
		{"within", newest, before, time.Hour - 1, []string{"new", "old"}},
		{"over", newest, before, time.Hour, []string{"new"}},
		{"there is none before", newest, Version{}, 0, []string{"new"}},
		{"nothing is known", Version{}, Version{}, 0, nil},
	} {
		if got := Good(c.newest, c.before, time.Hour, noon.Add(c.after)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
