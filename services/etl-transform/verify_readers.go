package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/etl-transform/internal/postgres"
)

// verifiedReaders is what `verify --analytics` tells: the marts that somebody else has changed since they were published.
type verifiedReaders struct {
	Load    int64         `json:"load"`
	Region  string        `json:"region"` // that has published
	Marts   int           `json:"marts"`
	Altered []alteredMart `json:"altered"`
}

type alteredMart struct {
	Mart string `json:"mart"`
	Why  string `json:"why"`
}

// verifyReaders looks at what readers have. The service replaces what it finds by itself, at the latest after OFITEC_ANALYTICS_VERIFY_EVERY.
func (c *Config) verifyReaders(ctx context.Context, r *reading, a *arguments, out io.Writer) error {
	if c.Analytics.DSN == "" {
		return &config.Problem{Variable: "OFITEC_ANALYTICS_DSN", Value: "", Want: "the database that readers see, for verify --analytics"}
	}
	server, err := postgres.New(c.Analytics.DSN.Reveal(), c.Analytics.Password.Reveal())
	if err != nil {
		return err
	}
	s, err := r.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	seen, err := server.Current(ctx)
	if err != nil {
		return err
	}
	v := verifiedReaders{Load: seen.Load, Region: seen.Region, Altered: []alteredMart{}}
	if seen.Load > 0 {
		altered, err := server.Look(ctx, martsOf(s))
		if err != nil {
			return err
		}
		v.Marts = len(s.Marts)
		for _, found := range altered {
			v.Altered = append(v.Altered, alteredMart(found))
		}
	}
	if err := a.print(out, v, v.write); err != nil {
		return err
	}
	if len(v.Altered) > 0 {
		return errDiffers
	}
	return nil
}

func (v verifiedReaders) write(out io.Writer) {
	switch {
	case v.Load == 0:
		fmt.Fprintln(out, "nothing was published yet")
	case len(v.Altered) == 0:
		fmt.Fprintf(out, "readers have all %d marts as load %d of region %s has published them\n", v.Marts, v.Load, v.Region)
	}
	for _, a := range v.Altered {
		fmt.Fprintf(out, "CHANGED BY SOMEBODY ELSE: %s: %s\n", a.Mart, a.Why)
	}
}
