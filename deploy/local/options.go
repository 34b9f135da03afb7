// Package local is the three-region stack on one machine: it prepares what is missing, starts every server and service as a process of its own
// and keeps it running until it is told to stop. It starts the services' binaries and imports none of them.
package local

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Options say which stack to run. The zero value of a field takes its default in check.
type Options struct {
	// Data is the folder of all state; ".ofitec" by default.
	Data string
	// Namespaces gives each region a network namespace of its own; needs root.
	Namespaces bool
	// Disks gives each region a disk of its own, an image in the data folder; needs root. A data folder that has them keeps them.
	Disks bool
	// CommitWitness lets no commit be acknowledged that the region's arbiter has not confirmed under the mandate.
	CommitWitness bool
	// Strict lets writes in synchronous mode wait until a standby is back, instead of going on without it.
	Strict bool
	// Addresses replace the regions' addresses; those that are not given keep theirs.
	Addresses map[string]string
	// Binaries is the folder of the services' programs; by default that of the running program.
	Binaries string
	// Out receives one line a component, and progress.
	Out io.Writer
	// Odoo are the stand-in's settings beside addresses and credentials, as lines of its environment file.
	Odoo map[string]string
	// GateWindow is the range over which the gates' rates are taken; 30 s by default (5 min in production).
	GateWindow time.Duration
	// WithoutVault leaves Vault and what needs it out: for tests of the rest.
	WithoutVault bool
}

// UsageError is wrong use: the command exits with 2.
type UsageError struct{ Problem string }

func (e *UsageError) Error() string { return e.Problem }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

func (o Options) withDefaults() (Options, error) {
	if o.Data == "" {
		o.Data = ".ofitec"
	}
	data, err := filepath.Abs(o.Data)
	if err != nil {
		return o, fmt.Errorf("find the data folder: %w", err)
	}
	o.Data = data
	if strings.ContainsAny(data, " \t'\"\\") {
		return o, usage("data folder %q: servers' configuration files cannot name a path with blanks or quotes; choose another with --data", data)
	}
	if o.Binaries == "" {
		program, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find the running program: %w", err)
		}
		o.Binaries = filepath.Dir(program)
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.GateWindow == 0 {
		o.GateWindow = 30 * time.Second
	}
	if o.GateWindow < 5*time.Second {
		return o, usage("gate window %s: must be 5s or more, the scrape interval is 1s", o.GateWindow)
	}
	if o.Namespaces && os.Geteuid() != 0 {
		return o, usage("--netns needs root; run without it, the regions are then on 127.0.0.11 to 13")
	}
	if o.Disks && os.Geteuid() != 0 {
		return o, usage("--disks needs root; run without it, the regions are then folders of one disk")
	}
	return o, o.checkBinaries()
}

// Programs are the binaries that the stack starts from Options.Binaries.
func Programs() []string {
	programs := []string{odooProgram, "console"}
	for _, service := range layout.Services {
		programs = append(programs, service.Name)
	}
	return programs
}

const odooProgram = "odoo-standin"

func (o Options) checkBinaries() error {
	var missing []string
	for _, name := range Programs() {
		if info, err := os.Stat(filepath.Join(o.Binaries, name)); err != nil || info.Mode()&0o111 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not in %s: %s; build what is missing with: make build", o.Binaries, strings.Join(missing, ", "))
	}
	return nil
}

// addressing is the wanted one; an error is wrong use.
func (o Options) addressing() (layout.Addressing, error) {
	base := layout.Loopback()
	if o.Namespaces {
		base = layout.Namespaced()
	}
	regions := map[layout.Region]string{}
	for r, address := range o.Addresses {
		regions[layout.Region(r)] = address
	}
	addressing, err := base.WithRegions(regions)
	if err != nil {
		return layout.Addressing{}, usage("%v", err)
	}
	return addressing, nil
}
