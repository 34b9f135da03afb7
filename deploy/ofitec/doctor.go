package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/disk"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
)

// finding is one thing that is not as it should be.
type finding struct {
	What   string `json:"what"`
	Why    string `json:"why"`
	WayOut string `json:"way_out"`
}

// examination is a named check; it returns what it found wrong.
type examination struct {
	name string
	run  func(ctx context.Context) []finding
}

func newDoctor() *cobra.Command {
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong: each finding with its reason and the way out; exits 1 when there is one",
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			findings, looked := examine(cmd.Context(), dataFolder(cmd))
			if inJSON {
				err = writeJSON(cmd.OutOrStdout(), map[string]any{"looked_at": looked, "findings": findings})
			} else {
				err = printFindings(cmd.OutOrStdout(), findings, looked)
			}
			if err == nil && len(findings) > 0 {
				return &failed{}
			}
			return err
		},
	}
	outputFlag(command)
	command.AddCommand(newDoctorExport(), newDoctorSecrets())
	return command
}

// examine looks at the machine, and at the stack when one was started on the data folder.
func examine(ctx context.Context, data string) (findings []finding, looked []string) {
	findings = []finding{}
	examinations := []examination{{"Debian packages", packagesFindings}, {"servers in the cache", serversFindings}}
	l, err := local.Open(data)
	if err == nil {
		examinations = append(examinations, folderExaminations(l)...)
		if local.Stopped(l) {
			examinations = append(examinations, examination{"components", func(ctx context.Context) []finding { return componentFindings(ctx, l) }})
		} else {
			examinations = append(examinations, stackExaminations(l)...)
		}
	}
	for _, e := range examinations {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		findings = append(findings, e.run(limited)...)
		cancel()
		looked = append(looked, e.name)
	}
	return findings, looked
}

// folderExaminations look at files only; the stack need not run.
func folderExaminations(l layout.Layout) []examination {
	return []examination{
		{"disk space", func(context.Context) []finding { return diskFindings(l) }},
		{"modes of secret files", func(context.Context) []finding { return modeFindings(l) }},
		{"certificates", func(context.Context) []finding { return certificateFindings(l, time.Now()) }},
	}
}

// stackExaminations ask the running servers.
func stackExaminations(l layout.Layout) []examination {
	o, err := newOperator(l)
	if err != nil {
		return []examination{{"operator's identity", func(context.Context) []finding {
			return []finding{{"the operator's identity cannot be read", err.Error(), "start the stack once with ofitec up; if that does not help, remove " + l.OperatorIdentityDir()}}
		}}}
	}
	return []examination{
		{"components", func(ctx context.Context) []finding { return componentFindings(ctx, l) }},
		{"etcd members", o.etcdFindings},
		{"NATS streams", o.streamFindings},
		{"mandate", o.mandateFindings},
		{"replication", o.replicationFindings},
		{"Vault", o.vaultFindings},
		{"DNS", o.dnsFindings},
	}
}

func packagesFindings(context.Context) []finding {
	var names []string
	for _, p := range debian.Missing() {
		names = append(names, p.Name)
	}
	if names == nil {
		return nil
	}
	return []finding{{"Debian packages are missing: " + strings.Join(names, " "), "the stack runs their servers", "as root: ofitec setup, or: apt-get install --no-install-recommends " + strings.Join(names, " ")}}
}

func serversFindings(ctx context.Context) []finding {
	var found []finding
	for _, s := range servers.All {
		if _, ok := s.Find(ctx); !ok {
			found = append(found, finding{s.Name + " " + s.Version + " is not built yet", "no package has it in this version", "ofitec setup builds it once; ofitec up does so too, while the rest is usable"})
		}
	}
	return found
}

// diskFindings look at the folder's disk, and at those of the regions that have one of their own.
func diskFindings(l layout.Layout) []finding {
	const need = 1 << 30
	dirs := []string{l.Root}
	for _, r := range layout.Regions {
		if dir := l.RegionDir(r); disk.Own(dir) {
			dirs = append(dirs, dir)
		}
	}
	var found []finding
	for _, dir := range dirs {
		var stat syscall.Statfs_t
		if err := syscall.Statfs(dir, &stat); err != nil {
			found = append(found, finding{"free space of " + dir + " is unknown", err.Error(), "look at the disk"})
			continue
		}
		if free := stat.Bavail * uint64(stat.Bsize); free < need {
			found = append(found, finding{fmt.Sprintf("%s has %d MiB free", dir, free>>20), "PostgreSQL, NATS and etcd stop writing on a full disk", "free some space, or move the folder and start with --data; after a drill that was killed: ofitec drill heal"})
		}
	}
	return found
}

// modeFindings looks for keys and passwords that others can read.
func modeFindings(l layout.Layout) []finding {
	var found []finding
	look := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".crt") {
			return nil //nolint:nilerr // what cannot be looked at is passed over
		}
		if info, err := entry.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			found = append(found, finding{path + " has mode " + info.Mode().Perm().String(), "a secret may be read by its owner only", "chmod 600 " + path})
		}
		return nil
	}
	for _, dir := range []string{l.OperatorDir(), filepath.Join(l.Root, "outside", "identity"), filepath.Join(l.RegionDir(layout.A), "identity"), filepath.Join(l.RegionDir(layout.B), "identity"), filepath.Join(l.RegionDir(layout.C), "identity")} {
		_ = filepath.WalkDir(dir, look)
	}
	for _, r := range layout.DataRegions {
		_ = filepath.WalkDir(filepath.Join(l.RegionDir(r), "odoo"), look)
	}
	return found
}

// certificateFindings names certificates that end within a week.
func certificateFindings(l layout.Layout, now time.Time) []finding {
	var found []finding
	_ = filepath.WalkDir(l.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what cannot be looked at is passed over
		}
		if entry.IsDir() && (entry.Name() == "data" || entry.Name() == "log") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".crt") {
			return nil
		}
		content, err := os.ReadFile(path) //nolint:gosec // the operator's own folder
		if err != nil {
			return nil //nolint:nilerr // what cannot be looked at is passed over
		}
		block, _ := pem.Decode(content)
		if block == nil {
			found = append(found, finding{path + " holds no certificate", "it is damaged", "remove it and start the stack again: it is made anew"})
			return nil
		}
		if certificate, err := x509.ParseCertificate(block.Bytes); err != nil || now.Add(7*24*time.Hour).After(certificate.NotAfter) {
			found = append(found, finding{path + " ends soon or has ended", "its service is refused then", "restart the stack: certificates near their end are renewed at a start"})
		}
		return nil
	})
	return found
}

func componentFindings(ctx context.Context, l layout.Layout) []finding {
	status, err := control.NewClient(l.ControlSocket()).Status(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return []finding{{"the stack is not running", "nothing answers on " + l.ControlSocket(), "ofitec up --data " + l.Root}}
	}
	if err != nil {
		return []finding{{"the supervisor does not answer", err.Error(), "look at the terminal of ofitec up"}}
	}
	var found []finding
	for _, pending := range status.Pending {
		found = append(found, finding{pending + " is still being prepared", "it is built or configured beside the rest", "wait; the terminal of ofitec up shows the progress"})
	}
	for r, loss := range status.Lost {
		found = append(found, finding{lostWords(layout.Region(r), loss), "a drill has taken it away", "ofitec drill restore " + r})
	}
	for _, c := range status.Components {
		if _, lost := status.Lost[c.Region]; !c.Ready && !lost {
			region, log := c.Region, l.LogFile(layout.Region(c.Region), c.Name)
			if region == "" {
				region, log = "outside", l.OutsideLogFile(c.Name)
			}
			found = append(found, finding{region + "/" + c.Name + " is not ready (" + string(c.State) + ")", c.Reason, "look at " + log})
		}
	}
	return found
}

func (o *operator) etcdFindings(ctx context.Context) []finding {
	var found []finding
	for _, r := range layout.Regions {
		err := func() error {
			client, err := o.etcd(ctx, r)
			if err != nil {
				return err
			}
			defer func() { _ = client.Close() }()
			limited, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err = client.Get(limited, "health")
			return err
		}()
		if err != nil {
			found = append(found, finding{"etcd in region " + string(r) + " does not answer", err.Error(), "with two members left all goes on; with one, the active region fences itself. Look at " + o.layout.LogFile(r, "etcd")})
		}
	}
	return found
}

func (o *operator) streamFindings(ctx context.Context) []finding {
	conn, js, err := o.nats()
	if err != nil {
		return []finding{{"NATS does not answer", err.Error(), "look at " + o.layout.LogFile(layout.A, "nats")}}
	}
	defer conn.Close()
	var found []finding
	for info := range js.ListStreams(ctx).Info() {
		if info.Cluster == nil || info.Cluster.Leader == "" {
			found = append(found, finding{"stream " + info.Config.Name + " has no leader", "fewer than two of its three servers are there", "start the missing region"})
			continue
		}
		for _, replica := range info.Cluster.Replicas {
			if replica.Offline || !replica.Current {
				found = append(found, finding{fmt.Sprintf("stream %s: the replica on %s is behind or away", info.Config.Name, replica.Name), "one more loss would stop the stream", "wait, or look at that region's nats.log"})
			}
		}
		if info.Config.Name == "PARKED" && info.State.Msgs > 0 {
			found = append(found, finding{fmt.Sprintf("%d messages are parked", info.State.Msgs), "a consumer gave up on them", "ofitec events replay --stream PARKED"})
		}
	}
	return found
}

func (o *operator) mandateFindings(ctx context.Context) []finding {
	failover, err := o.failover(ctx)
	if err != nil {
		return []finding{{"who may write is unknown", err.Error(), "look at etcd"}}
	}
	if failover.Active == "" {
		return []finding{{"no region has ever held the mandate", "the arbiters have not granted the first one yet", "look at " + o.layout.LogFile(layout.A, "failover-arbiter")}}
	}
	address := "http://" + o.layout.Addressing.Addr(layout.Region(failover.Active), layout.PortArbiter) + "/mandate"
	if !o.answers(ctx, address) {
		return []finding{{"region " + string(failover.Active) + " is active and does not hold its mandate", "its arbiter answers no at " + address, "nobody can write until it renews; look at its failover-arbiter.log"}}
	}
	return nil
}

func (o *operator) replicationFindings(ctx context.Context) []finding {
	failover, err := o.failover(ctx)
	if err != nil || failover.Active == "" {
		return nil // said by the mandate
	}
	standby := layout.Region(failover.Active).Peer()
	if lag := o.lag(ctx, standby); lag == nil {
		return []finding{{"the replication lag of region " + string(standby) + " is unknown", "its Prometheus has recorded none", "right after a start wait some seconds; else look at its postgres.log"}}
	} else if *lag > 60 {
		return []finding{{fmt.Sprintf("region %s is %.0f s behind", standby, *lag), "a failover now would lose that", "look at its postgres.log and at the network"}}
	}
	return nil
}

func (o *operator) dnsFindings(ctx context.Context) []finding {
	failover, err := o.failover(ctx)
	if err != nil || failover.Active == "" {
		return nil
	}
	want := o.layout.Addressing.Region[layout.Region(failover.Active)]
	server := fmt.Sprintf("%s:%d", o.layout.Addressing.Outside, layout.PortDNS)
	got, err := lookup(ctx, server)
	if err != nil {
		return []finding{{"DNS does not answer for " + layout.Name, err.Error(), "look at " + o.layout.OutsideLogFile("bind")}}
	}
	if got != want {
		return []finding{{layout.Name + " answers " + got, "region " + string(failover.Active) + " is active, at " + want, "the arbiter sets it again and again; look at its log"}}
	}
	return nil
}

func printFindings(w io.Writer, findings []finding, looked []string) error {
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range findings {
		_, _ = fmt.Fprintf(table, "%s\n  why:\t%s\n  way out:\t%s\n", f.What, f.Why, f.WayOut)
	}
	if len(findings) == 0 {
		_, _ = fmt.Fprintf(table, "nothing found; looked at %s\n", strings.Join(looked, ", "))
	}
	return table.Flush()
}
