package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

func newETL() *cobra.Command {
	command := &cobra.Command{
		Use: "etl", Short: "Bring the warehouse up to date now, see how fresh it is; verify, rebuild, check and trace it",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(newETLRun(), newETLStatus(), newETLVerify(), newETLRebuild(), newETLTrace(), newETLCheck(), newETLPlan(), newETLQuarantine(), newETLReveal(), newETLClose(), newETLRotateKey(), newETLErase())
	return command
}

func newETLRun() *cobra.Command {
	var r etlRun
	var reason string
	command := &cobra.Command{
		Use: "run", Short: "Export what has changed, load it and publish the marts",
		Long: "Export what has changed, load it and publish the marts.\n\nThe command goes out on JOBS with your name. It is followed until what was exported is in the warehouse and readers see it:\n" +
			"status 0 then, else 1. The rows of each dataset are those that were new in this run.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !events.IsToken(r.dataset) {
				return wrongUse{fmt.Errorf("--dataset %q: must be the name of a dataset, or all", r.dataset)}
			}
			if r.within <= 0 {
				return wrongUse{fmt.Errorf("--within %s: must be more than 0", r.within)}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				r.act = act(reason, time.Now())
				return r.carryOut(ctx, cmd, o, inJSON)
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&r.dataset, "dataset", events.AllDatasets, "one dataset, or all")
	flags.BoolVar(&r.reconcile, "reconcile", false, "also compare ids and digests with the source")
	flags.BoolVar(&r.wait, "wait", true, "follow it to its end")
	flags.DurationVar(&r.within, "within", 10*time.Minute, "how long it is followed")
	flags.StringVar(&reason, "reason", "asked for by hand", "why; it stands in the audit trail")
	outputFlag(command)
	return command
}

// etlRun is one run as it was asked for.
type etlRun struct {
	dataset   string
	reconcile bool
	wait      bool
	within    time.Duration
	act       events.Act
}

func (r etlRun) carryOut(ctx context.Context, cmd *cobra.Command, o *operator, inJSON bool) error {
	conn, js, err := o.nats()
	if err != nil {
		return err
	}
	defer conn.Close()
	job, err := events.New(events.Origin{Region: events.RegionA, Service: "operator"}, r.act.At, events.JobExport{Dataset: r.dataset, Reconcile: r.reconcile, Act: r.act})
	if err != nil {
		return err
	}
	receipt, err := bus.NewJetStream(js, nil).Publish(ctx, job)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	progress := out
	if inJSON {
		progress = io.Discard
	}
	_, _ = fmt.Fprintf(progress, "asked for an export of %s as request %s\n", r.dataset, r.act.Request)
	if !r.wait {
		if inJSON {
			return writeJSON(out, map[string]any{"request": r.act.Request, "job": receipt.Sequence})
		}
		return nil
	}
	run := newETLProgress(job.CorrelationID)
	err = r.follow(ctx, js, receipt.Sequence, run, progress)
	if inJSON {
		if printing := writeJSON(out, run.result(r.act.Request, err)); printing != nil {
			return printing
		}
		if err != nil {
			return &failed{}
		}
		return nil
	}
	run.print(out)
	return err
}

// jobPulse is how often it is looked whether ingest has done what it was asked for.
const jobPulse = 300 * time.Millisecond

// errETLDone ends the reading of facts.
var errETLDone = errors.New("done")

// follow reads facts as they come until the run has ended.
func (r etlRun) follow(ctx context.Context, js jetstream.JetStream, job uint64, run *etlProgress, progress io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	acted := make(chan error, 1) // one value: how the wait for the job has ended
	go func() { acted <- jobDone(ctx, js, job) }()
	facts := make(chan bus.Replayed, 64) // closed when reading has ended
	reading := make(chan error, 1)
	wanted := bus.Range{
		Stream: events.StreamFacts, From: r.act.At.Add(-time.Second), Follow: true,
		Types: []events.Type{events.TypeExportReady, events.TypeExportFailed, events.TypeWarehouseLoaded, events.TypeWarehousePublished, events.TypeWarehouseRejected},
	}
	go func() {
		defer close(facts)
		reading <- bus.NewJetStream(js, nil).Replay(ctx, wanted, func(f bus.Replayed) error {
			select {
			case facts <- f:
				return nil
			case <-ctx.Done():
				return errETLDone
			}
		})
	}()
	for !run.ended() {
		select {
		case err := <-acted:
			if err != nil {
				return r.late(ctx, run, err)
			}
			// What ingest has told by now may not have come here yet: read it again, to its end.
			told := bus.Range{Stream: events.StreamFacts, From: wanted.From, Types: wanted.Types[:2]}
			if err := bus.NewJetStream(js, nil).Replay(ctx, told, func(f bus.Replayed) error { run.observe(f.Event); return nil }); err != nil {
				return r.late(ctx, run, err)
			}
			run.exported = true
		case f, open := <-facts:
			if !open {
				return r.late(ctx, run, <-reading)
			}
			for _, line := range run.observe(f.Event) {
				_, _ = fmt.Fprintln(progress, line)
			}
		}
	}
	if len(run.failed) > 0 {
		return fmt.Errorf("%d of the datasets could not be exported", len(run.failed))
	}
	return nil
}

func (r etlRun) late(ctx context.Context, run *etlProgress, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("the run has not ended within %s: %s", r.within, run.waitsFor())
	}
	return err
}

// jobDone returns nil when the work queue has let the command go: whoever took it has answered.
func jobDone(ctx context.Context, js jetstream.JetStream, sequence uint64) error {
	stream, err := js.Stream(ctx, events.StreamJobs)
	if err != nil {
		return fmt.Errorf("look at the command: %w", err)
	}
	for {
		_, err := stream.GetMsg(ctx, sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jobPulse):
		}
	}
}

func newETLStatus() *cobra.Command {
	command := &cobra.Command{
		Use: "status", Short: "Show each dataset and mart of the active region's warehouse: rows, freshness, quarantine",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				region, err := o.activeRegion(ctx)
				if err != nil {
					return err
				}
				body, err := o.warehouse(ctx, region)
				if err != nil {
					return err
				}
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), json.RawMessage(body))
				}
				return printWarehouse(cmd.OutOrStdout(), body)
			})
		},
	}
	outputFlag(command)
	return command
}

// activeRegion is who may write by the arbiters' state.
func (o *operator) activeRegion(ctx context.Context) (layout.Region, error) {
	client, err := o.etcd(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	answer, err := client.Get(ctx, state.KeyFailover)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", state.KeyFailover, err)
	}
	if len(answer.Kvs) == 0 {
		return "", errors.New("no region is active yet (ofitec status)")
	}
	f, err := state.Decode[state.Failover](answer.Kvs[0].Value)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", state.KeyFailover, err)
	}
	if f.Intent != nil && f.Intent.To != "" {
		return layout.Region(f.Intent.To), nil
	}
	return layout.Region(f.Active), nil
}

// warehouse asks the etl-transform of a region.
func (o *operator) warehouse(ctx context.Context, r layout.Region) ([]byte, error) {
	url := "http://" + o.layout.Addressing.Addr(r, layout.PortTransform) + "/v1/status"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := o.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask etl-transform of region %s: %w", r, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("ask etl-transform of region %s: %w", r, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask etl-transform of region %s: status %d: %s", r, response.StatusCode, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// warehouseStatus is the part of /v1/status that people read.
type warehouseStatus struct {
	Region      string     `json:"region"`
	Load        int64      `json:"load"`
	Sequence    int64      `json:"manifest_sequence"`
	LoadedAt    *time.Time `json:"loaded_at"`
	Published   int64      `json:"published_load"`
	PublishedAt *time.Time `json:"published_at"`
	Failure     string     `json:"failure"`
	Datasets    []struct {
		Dataset     string     `json:"dataset"`
		Rows        int64      `json:"rows"`
		AsOf        *time.Time `json:"asof"`
		LoadedAt    *time.Time `json:"loaded_at"`
		Quarantined int64      `json:"quarantined"`
	} `json:"datasets"`
	Marts []struct {
		Mart        string `json:"mart"`
		Rows        int64  `json:"rows"`
		BlockedBy   string `json:"blocked_by"`
		Quarantined int64  `json:"quarantined"`
	} `json:"marts"`
}

func printWarehouse(w io.Writer, body []byte) error {
	var s warehouseStatus
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read the answer of etl-transform: %w", err)
	}
	_, _ = fmt.Fprintf(w, "region %s: load %d of %s, manifest record %d; readers see load %d of %s\n", s.Region, s.Load, clockOf(s.LoadedAt), s.Sequence, s.Published, clockOf(s.PublishedAt))
	if s.Failure != "" {
		_, _ = fmt.Fprintf(w, "not published: %s\n", s.Failure)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nDATASET\tROWS\tAS OF\tLOADED\tQUARANTINE")
	for _, d := range s.Datasets {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%d\n", d.Dataset, d.Rows, clockOf(d.AsOf), clockOf(d.LoadedAt), d.Quarantined)
	}
	_, _ = fmt.Fprintln(table, "\nMART\tROWS\tKEPT OUT\tHELD BACK BY")
	for _, m := range s.Marts {
		blocked := m.BlockedBy
		if blocked == "" {
			blocked = "-"
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", m.Mart, m.Rows, m.Quarantined, blocked)
	}
	return table.Flush()
}

func clockOf(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.UTC().Format(time.RFC3339)
}
