package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Way is what one region says to another.
type Way struct{ From, To layout.Region }

// table holds the rules of a partition, in the namespace of whoever does not hear.
const table = "ofitec_drill"

// ParseCut reads which ways are cut: "a|bc" parts the regions into groups, "a-b" cuts one link, "a>b" what a says to b. Several are joined by commas.
func ParseCut(text string) ([]Way, error) {
	var ways []Way
	add := func(from, to layout.Region) {
		if way := (Way{from, to}); !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	for part := range strings.SplitSeq(text, ",") {
		separator := strings.IndexAny(part, "|->")
		if separator < 0 {
			return nil, cutProblem(part)
		}
		left, lok := regionsOf(part[:separator])
		right, rok := regionsOf(part[separator+1:])
		if !lok || !rok || slices.ContainsFunc(left, func(r layout.Region) bool { return slices.Contains(right, r) }) {
			return nil, cutProblem(part)
		}
		for _, l := range left {
			for _, r := range right {
				add(l, r)
				if part[separator] != '>' {
					add(r, l)
				}
			}
		}
	}
	return ways, nil
}

func cutProblem(part string) error {
	return fmt.Errorf("cut %q: must be groups such as a|bc, a link such as a-b, or one way such as a>b; regions are a, b and c", part)
}

// regionsOf reads one letter a region, each once.
func regionsOf(text string) ([]layout.Region, bool) {
	var found []layout.Region
	for _, letter := range text {
		r := layout.Region(letter)
		if !slices.Contains(layout.Regions, r) || slices.Contains(found, r) {
			return nil, false
		}
		found = append(found, r)
	}
	return found, len(found) > 0
}

// Partition cuts the ways, and no others: packets are dropped where they arrive, and nobody is told. What stands outside the regions still reaches all of them.
func Partition(ctx context.Context, addressing layout.Addressing, ways []Way) error {
	for _, r := range layout.Regions {
		if err := rules(ctx, r, ruleset(addressing, r, ways)); err != nil {
			return errors.Join(err, Heal(context.WithoutCancel(ctx)))
		}
	}
	return nil
}

// Heal takes every partition back; where there is none, nothing happens.
func Heal(ctx context.Context) error {
	var all []error
	for _, r := range layout.Regions {
		if _, err := os.Stat(Path(r)); err != nil {
			continue // no namespaces here
		}
		all = append(all, rules(ctx, r, ruleset(layout.Addressing{}, r, nil)))
	}
	return errors.Join(all...)
}

// ruleset replaces what a region does not hear, in one transaction.
func ruleset(addressing layout.Addressing, r layout.Region, ways []Way) string {
	text := fmt.Sprintf("table inet %s\ndelete table inet %s\n", table, table)
	var sources []string
	for _, way := range ways {
		if way.To != r {
			continue
		}
		sources = append(sources, addressing.Region[way.From])
		if source, ok := addressing.ProxySource[way.From]; ok {
			sources = append(sources, source)
		}
	}
	if len(sources) == 0 {
		return text
	}
	return text + fmt.Sprintf("table inet %s {\n  chain input {\n    type filter hook input priority filter; policy accept;\n    ip saddr { %s } drop\n  }\n}\n", table, strings.Join(sources, ", "))
}

func rules(ctx context.Context, r layout.Region, text string) error {
	command := exec.CommandContext(ctx, "ip", "netns", "exec", name(r), "nft", "-f", "-")
	command.Stdin = strings.NewReader(text)
	out, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("nft in %s: %w: %s", name(r), err, strings.TrimSpace(string(out)))
	}
	return nil
}
