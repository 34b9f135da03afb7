package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// runQuarantine lists what is kept out of the warehouse or of a mart, with the reason and where it came from.
func runQuarantine(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("quarantine")
	var of string
	a.StringVar(&of, "of", "", "one dataset or mart")
	if _, err := a.read(args, 0); err != nil {
		return err
	}
	r, err := c.openReading(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	rejects, err := r.Quarantine(ctx, of)
	if err != nil {
		return err
	}
	return a.print(out, rejects, func(out io.Writer) { writeQuarantine(out, r, rejects) })
}

func writeQuarantine(out io.Writer, r *reading, rejects []warehouse.Reject) {
	for _, q := range rejects {
		fmt.Fprintf(out, "%s: row %s, column %s, value %q: %s\n", q.Name, dash(q.Row), dash(q.Column), q.Value, q.Reason)
		if q.URL != "" {
			fmt.Fprintf(out, "    line %d of %s, manifest record %d\n", q.Line, q.URL, q.Sequence)
		}
	}
	fmt.Fprintf(out, "%d in quarantine (%s, load %d). A row that is put right at the source comes with the next export; after a change of models or checks, `rebuild` reads all of them again\n", len(rejects), r.Path, r.Made.Load)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
