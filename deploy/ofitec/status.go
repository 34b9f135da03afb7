package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
	"github.com/ofitec/ofitec/events/state"
)

// status is `ofitec status -o json`, pinned by design.md section 7.
type status struct {
	Active  *string                 `json:"active"`
	Epoch   uint64                  `json:"epoch"`
	Phase   string                  `json:"phase"`
	Regions map[string]regionStatus `json:"regions"`
	Outside outsideStatus           `json:"outside"`
	Pending []string                `json:"pending,omitempty"`
}

type regionStatus struct {
	Role       string      `json:"role"`
	Health     string      `json:"health"`
	LagSeconds *float64    `json:"lag_seconds"`
	Components []component `json:"components"`
	// ArbiterSilent is set where the arbiter gave no answer. The role is then fenced, as its dead man makes it: until that has noticed, the region may be open.
	ArbiterSilent bool `json:"arbiter_silent,omitempty"`
	// Lost is set while a drill keeps the region down.
	Lost *control.Loss `json:"lost,omitempty"`
}

type outsideStatus struct {
	Components []component `json:"components"`
}

type component struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Addr  string `json:"addr"`
	Ready bool   `json:"ready"`
	// State and Reason are for people; the pinned fields are those above.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
}

func newStatus() *cobra.Command {
	command := &cobra.Command{
		Use:   "status",
		Short: "Show who may write, and every component; exits 0 only if all are ready",
		RunE: func(cmd *cobra.Command, _ []string) error {
			inJSON, err := asJSON(cmd)
			if err != nil {
				return err
			}
			l, err := local.Open(dataFolder(cmd))
			if err != nil {
				return err
			}
			supervised, err := control.NewClient(l.ControlSocket()).Status(cmd.Context())
			if err != nil {
				return fmt.Errorf("data folder %s: %w; start it with: ofitec up --data %s", l.Root, err, l.Root)
			}
			o, err := newOperator(l)
			if err != nil {
				return err
			}
			now := o.status(cmd.Context(), supervised)
			if inJSON {
				err = writeJSON(cmd.OutOrStdout(), now)
			} else {
				err = now.print(cmd.OutOrStdout())
			}
			if err == nil && !supervised.Ready {
				return &failed{}
			}
			return err
		},
	}
	outputFlag(command)
	return command
}

// status asks everything at once; what does not answer within 2 s is unknown.
func (o *operator) status(ctx context.Context, supervised control.Status) status {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	now := status{Phase: "unknown", Regions: map[string]regionStatus{}, Pending: supervised.Pending}
	var mu sync.Mutex
	var wait sync.WaitGroup
	wait.Go(func() { // an etcd without a quorum does not answer, and says nothing about the regions
		failover, err := o.failover(ctx)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			return
		}
		now.Epoch, now.Phase = uint64(failover.Epoch), string(failover.Phase)
		if failover.Active != "" {
			active := string(failover.Active)
			now.Active = &active
		}
	})
	for _, r := range layout.Regions {
		wait.Go(func() {
			region := o.region(ctx, r, supervised.Components)
			if loss, lost := supervised.Lost[string(r)]; lost {
				region.Lost = &loss
			}
			mu.Lock()
			now.Regions[string(r)] = region
			mu.Unlock()
		})
	}
	wait.Wait()
	now.Outside.Components = componentsOf("", supervised.Components)
	return now
}

// failover reads the state that decides; the zero state means that nobody has ever held the mandate.
func (o *operator) failover(ctx context.Context) (state.Failover, error) {
	client, err := o.etcd(ctx)
	if err != nil {
		return state.Failover{}, err
	}
	defer func() { _ = client.Close() }()
	answer, err := client.Get(ctx, state.KeyFailover)
	if err != nil {
		return state.Failover{}, fmt.Errorf("read %s: %w", state.KeyFailover, err)
	}
	if len(answer.Kvs) == 0 {
		return state.Failover{}, nil
	}
	return state.Decode[state.Failover](answer.Kvs[0].Value)
}

func (o *operator) region(ctx context.Context, r layout.Region, all []supervise.Status) regionStatus {
	region := regionStatus{Components: componentsOf(string(r), all), Health: "unknown"}
	running := 0
	for _, c := range region.Components {
		if c.PID != 0 {
			running++
		}
	}
	if running == 0 {
		region.Role, region.Health = "down", "down"
		return region
	}
	if !r.HoldsData() {
		region.Role, region.Health = "quorum", upWhen(allReady(region.Components))
		return region
	}
	region.Role, region.ArbiterSilent = o.role(ctx, "http://"+o.layout.Addressing.Addr(r, layout.PortArbiter))
	region.Health = upWhen(o.answers(ctx, "http://"+o.layout.Addressing.Addr(r, layout.PortWebProxy)+"/web/health"))
	region.LagSeconds = o.lag(ctx, r)
	return region
}

// role is what a region's arbiter says. One that does not answer says nothing: its dead man closes the region, once the mandate has ended or the proxy has noticed.
func (o *operator) role(ctx context.Context, arbiter string) (role string, silent bool) {
	mandate, err := o.statusOf(ctx, arbiter+"/mandate")
	if err == nil && mandate == http.StatusOK {
		return "primary", false
	}
	standby, problem := o.statusOf(ctx, arbiter+"/standby")
	if problem == nil && standby == http.StatusOK {
		return "standby", false
	}
	return "fenced", err != nil || problem != nil
}

func upWhen(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func (o *operator) answers(ctx context.Context, address string) bool {
	status, err := o.statusOf(ctx, address)
	return err == nil && status == http.StatusOK
}

// statusOf gives the status of an answer.
func (o *operator) statusOf(ctx context.Context, address string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := o.http.Do(request)
	if err != nil {
		return 0, err
	}
	_ = response.Body.Close()
	return response.StatusCode, nil
}

// lag is what the region's own Prometheus has recorded; nil when it knows none.
func (o *operator) lag(ctx context.Context, r layout.Region) *float64 {
	return o.recorded(ctx, r, "db:replication_lag_seconds")
}

// query asks Prometheus for one value.
func (o *operator) query(ctx context.Context, address string) *float64 {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil
	}
	response, err := o.http.Do(request)
	if err != nil {
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer); err != nil || len(answer.Data.Result) != 1 {
		return nil
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds != seconds {
		return nil
	}
	return &seconds
}

func componentsOf(region string, all []supervise.Status) []component {
	found := []component{}
	for _, s := range all {
		if s.Region == region {
			found = append(found, component{s.Name, s.PID, s.Addr, s.Ready, string(s.State), s.Reason})
		}
	}
	return found
}

func allReady(components []component) bool {
	for _, c := range components {
		if !c.Ready {
			return false
		}
	}
	return len(components) > 0
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// tellVerdict prints a result for programs or for people; one that is not good ends the program with 1.
func tellVerdict(cmd *cobra.Command, inJSON bool, result interface{ print(w io.Writer) error }, good bool) error {
	var err error
	if inJSON {
		err = writeJSON(cmd.OutOrStdout(), result)
	} else {
		err = result.print(cmd.OutOrStdout())
	}
	if err == nil && !good {
		return &failed{}
	}
	return err
}

// print is the same for people.
func (s status) print(w io.Writer) error {
	active := "nobody"
	if s.Active != nil {
		active = "region " + *s.Active
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintf(table, "active: %s, epoch %d, phase %s\n", active, s.Epoch, s.Phase)
	for _, pending := range s.Pending {
		_, _ = fmt.Fprintf(table, "still being prepared: %s\n", pending)
	}
	for _, r := range layout.Regions {
		region := s.Regions[string(r)]
		lag := ""
		if region.LagSeconds != nil {
			lag = fmt.Sprintf(", lag %.1f s", *region.LagSeconds)
		}
		role := region.Role
		if region.ArbiterSilent {
			role += " (no answer from its arbiter)"
		}
		_, _ = fmt.Fprintf(table, "\nregion %s: %s, %s%s\n", r, role, region.Health, lag)
		if region.Lost != nil {
			_, _ = fmt.Fprintf(table, "  %s\n", lostWords(r, *region.Lost))
		}
		printComponents(table, region.Components)
	}
	_, _ = fmt.Fprintf(table, "\noutside the regions\n")
	printComponents(table, s.Outside.Components)
	return table.Flush()
}

func printComponents(w io.Writer, components []component) {
	for _, c := range components {
		detail := ""
		if !c.Ready {
			detail = c.Reason
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\tpid %d\t%s\n", c.Name, c.State, c.Addr, c.PID, detail)
	}
}
