package simulation

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the table of docs/failover-safety.md anew; read the difference before you commit it")

const (
	safetyPage = "../../../../docs/failover-safety.md"
	tableHead  = "| rule removed | invariant broken | life |\n|---|---|---:|\n"
)

// TestEachSafetyRuleIsMissedWhenItIsRemoved removes one rule at a time. The page says in which life that shows; when it does not show there any more, a later one is looked for.
func TestEachSafetyRuleIsMissedWhenItIsRemoved(t *testing.T) {
	page, err := os.ReadFile(safetyPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), tableHead)
	if !found {
		t.Fatalf("%s has no table that begins with %q", safetyPage, tableHead)
	}
	said := map[string]string{}
	rows := map[string]string{}
	var after strings.Builder
	for line := range strings.Lines(rest) {
		if cells := strings.Split(line, " | "); len(cells) == 3 && after.Len() == 0 {
			said[strings.TrimPrefix(cells[0], "| ")] = strings.TrimSpace(line)
		} else {
			after.WriteString(line)
		}
	}
	for _, r := range removals {
		t.Run(r.rule, func(t *testing.T) {
			row := said[r.rule]
			seed := uint64(0)
			if cells := strings.Split(row, " | "); len(cells) == 3 {
				seed, _ = strconv.ParseUint(strings.Trim(cells[2], " |"), 10, 64)
			}
			w, ok := firstLife(r, seed)
			if !ok {
				t.Fatalf("no life of 600 from %d on shows that this rule is removed", seed)
			}
			t.Log(w.epitaph())
			now := fmt.Sprintf("| %s | %s | %d |", r.rule, w.violations[0].invariant, w.seed)
			rows[r.rule] = now
			switch {
			case row == "" && !*rewrite:
				t.Errorf("%s has no row for it; it would be\n%s\n(write it with -rewrite)", safetyPage, now)
			case row != now: // a decision has changed somewhere, and with it each life: the rule is missed all the same
				t.Logf("%s says\n%s\nand it is now\n%s\n(write it with -rewrite)", safetyPage, row, now)
			}
		})
	}
	var table strings.Builder
	for _, r := range removals {
		row, played := rows[r.rule]
		if !played { // it was not asked for
			row = said[r.rule]
		}
		if row != "" {
			table.WriteString(row + "\n")
		}
		delete(said, r.rule)
	}
	for rule := range said {
		if !*rewrite {
			t.Errorf("%s has a row for %q, and nobody removes that rule", safetyPage, rule)
		}
	}
	if *rewrite && !t.Failed() {
		if err := os.WriteFile(safetyPage, []byte(before+tableHead+table.String()+after.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// firstLife is the first one in which the rule's absence breaks what it should break.
func firstLife(r removal, seed uint64) (*world, bool) {
	for end := seed + 600; seed < end; seed++ {
		w := live(seed, r, false)
		if len(w.violations) > 0 && slices.Contains(r.breaks, w.violations[0].invariant) {
			return w, true
		}
	}
	return nil, false
}
