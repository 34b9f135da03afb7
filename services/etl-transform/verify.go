package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/services/etl-transform/internal/warehouse"
)

// verified is what `verify` tells of a warehouse; another one's can be given to --against.
type verified struct {
	File    string            `json:"file"`
	Made    warehouse.Made    `json:"made"`
	Digests map[string]string `json:"digests"` // by table: rows and sum
	Tables  []string          `json:"tables"`  // in order
	Against *comparison       `json:"against,omitempty"`
}

// comparison is of two warehouses that should be equal.
type comparison struct {
	With    string   `json:"with,omitempty"`
	Compare bool     `json:"compared"`
	Why     string   `json:"why,omitempty"` // they cannot be compared
	Tables  int      `json:"tables"`
	Differ  []string `json:"differ"`
}

// errDiffers makes verify end with status 1.
var errDiffers = errors.New("the warehouses differ")

// runVerify prints a digest of each table, and compares them with another warehouse's, or with one that is made anew from the raw files.
func runVerify(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("verify")
	var against string
	var anew, readers bool
	a.StringVar(&against, "against", "", "a warehouse's file, or what verify -o json has said of it")
	a.BoolVar(&anew, "rebuild", false, "make it anew from the raw files up to the same record of the manifest, and compare")
	a.BoolVar(&readers, "analytics", false, "compare what readers have in OFITEC_ANALYTICS_DSN with what was published there, and change nothing")
	if _, err := a.read(args, 0); err != nil {
		return err
	}
	if readers && (anew || against != "") {
		return &chassis.UsageError{Reason: "verify: --analytics stands alone, without --rebuild and --against"}
	}
	r, err := c.openReading(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if readers {
		return c.verifyReaders(ctx, r, a, out)
	}
	v, err := digestsOf(ctx, r)
	if err != nil {
		return err
	}
	var other verified
	switch {
	case anew:
		other, err = c.anew(ctx, r.Made.Sequence)
	case against != "":
		other, err = c.readOther(ctx, against)
	}
	if err != nil {
		return err
	}
	if other.File != "" {
		found := compare(v, other)
		v.Against = &found
	}
	if err := a.print(out, v, v.write); err != nil {
		return err
	}
	if v.Against != nil && (!v.Against.Compare || len(v.Against.Differ) > 0) {
		return errDiffers
	}
	return nil
}

// digestsOf reads all of them.
func digestsOf(ctx context.Context, r *reading) (verified, error) {
	v := verified{File: r.Path, Made: r.Made, Digests: map[string]string{}}
	for _, table := range r.Tables() {
		digest, err := r.Digest(ctx, table)
		if err != nil {
			return v, err
		}
		if _, twice := v.Digests[table]; !twice {
			v.Tables = append(v.Tables, table)
		}
		v.Digests[table] = digest
	}
	return v, nil
}

// anew makes a warehouse from the raw files, reads its digests and removes it.
func (c *Config) anew(ctx context.Context, until int64) (verified, error) {
	path := c.file() + ".verifying"
	defer func() {
		_ = os.Remove(path) // nobody else makes it, and the next one begins by clearing it
		_ = os.Remove(logOf(path))
	}()
	key, err := c.presentKey(ctx)
	if err != nil {
		return verified{}, err
	}
	report, err := c.build(ctx, path, until, key, io.Discard)
	if err != nil {
		return verified{}, err
	}
	if report.LeftOut != "" {
		return verified{}, fmt.Errorf("make warehouse anew: %s", report.LeftOut)
	}
	v, err := c.readOther(ctx, path)
	v.File = "what the raw files make"
	return v, err
}

// readOther reads a warehouse's digests, or what was said of them.
func (c *Config) readOther(ctx context.Context, path string) (verified, error) {
	var v verified
	if strings.HasSuffix(path, ".json") {
		text, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(text, &v)
		}
		if err != nil {
			return v, fmt.Errorf("read --against %s: %w", path, err)
		}
		v.File = path
		return v, nil
	}
	r, err := c.read(ctx, path)
	if err != nil {
		return v, fmt.Errorf("read --against: %w", err)
	}
	defer func() { _ = r.Close() }()
	return digestsOf(ctx, r)
}

// compare says which tables differ, where equal raw files must have made equal ones.
func compare(mine, other verified) comparison {
	c := comparison{With: other.File, Differ: []string{}}
	if c.Why = mine.Made.Comparable(other.Made); c.Why != "" {
		return c
	}
	c.Compare, c.Tables = true, len(mine.Tables)
	for _, table := range mine.Tables {
		if mine.Digests[table] != other.Digests[table] {
			c.Differ = append(c.Differ, table)
		}
	}
	for table := range other.Digests {
		if mine.Digests[table] == "" {
			c.Differ = append(c.Differ, table)
		}
	}
	slices.Sort(c.Differ)
	return c
}

func versions(m warehouse.Made) string {
	return fmt.Sprintf("rules %s, models and checks %s, token key %s", m.Rules, m.Models, m.TokenKey)
}

func (v verified) write(out io.Writer) {
	fmt.Fprintf(out, "%s: load %d, manifest record %d; %s\n", v.File, v.Made.Load, v.Made.Sequence, versions(v.Made))
	for _, table := range v.Tables {
		fmt.Fprintf(out, "%-32s %s\n", table, v.Digests[table])
	}
	if v.Against != nil {
		v.Against.write(out, v.Against.With)
	}
}

func (c comparison) write(out io.Writer, other string) {
	switch {
	case !c.Compare:
		fmt.Fprintf(out, "not compared with %s: %s\n", other, c.Why)
	case len(c.Differ) == 0:
		fmt.Fprintf(out, "all %d tables equal those of %s\n", c.Tables, other)
	default:
		fmt.Fprintf(out, "DIFFERENT from %s: %s\n", other, strings.Join(c.Differ, ", "))
	}
}
