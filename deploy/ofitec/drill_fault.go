package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events/state"
)

// fault is harm that a drill does for a while and then takes back.
type fault struct {
	name  string
	begin func(ctx context.Context) error
	end   func(ctx context.Context) error // takes back whatever begin did, also what it did only half; nil where the stack mends itself
	lasts time.Duration
	must  expectation
	// silences says that the fault takes etcd away from everybody.
	silences bool
	// back says why what was killed is not there again; nil where nothing was.
	back func(control.Status) string
	// note says afterwards what exactly was done; nil where the name says it.
	note func() string
}

// moves says whether a fault may move the writes.
type moves string

const (
	stays  moves = "stays"
	moved  moves = "moves"
	either moves = "either" // both are right: it depends on how fast this machine is
)

// expectation is what must follow from a fault, beside the rights, which hold always.
type expectation struct {
	moves     moves
	maxOutage time.Duration
	closed    []layout.Region // take no write from the end of their mandate, M after the fault began, until it ends
	lossless  bool            // not one acknowledged write may be lost, replicated or not
	woken     layout.Region   // stands still as a whole and is woken when it may have lost its mandate
}

// faultReport is what a fault showed.
type faultReport struct {
	Fault     string          `json:"fault"`
	Note      string          `json:"note,omitempty"`
	Mode      string          `json:"mode,omitempty"` // how commits were held
	Began     time.Time       `json:"began"`
	Ended     time.Time       `json:"ended"`
	Before    regionEpoch     `json:"before"`
	After     regionEpoch     `json:"after"`
	Moved     bool            `json:"moved"`
	Settled   float64         `json:"settled_seconds"`              // from the fault's end until all was ready and both databases had the same
	Times     *recovery       `json:"times,omitempty"`              // where the writes moved
	LossBound *float64        `json:"loss_bound_seconds,omitempty"` // stated at the decision
	Names     []staleTail     `json:"names,omitempty"`              // where the writes moved: clients that still had the old address, by where they stand
	Timeline  []timelineEntry `json:"timeline"`
	Writes    writesReport    `json:"writes"`
	Machine   strain          `json:"machine"`
	Checks    []check         `json:"checks"`
	OK        bool            `json:"ok"`
}

type regionEpoch struct {
	Active string `json:"active"`
	Epoch  uint64 `json:"epoch"`
}

// faultDrill is a drill under way.
type faultDrill struct {
	*lossDrill
	client *control.Client
	fault  fault
	within time.Duration // for the failover, and for the stack to be whole again
}

// faultContext is what faults are made from: the stack and how it stands.
type faultContext struct {
	*operator
	client *control.Client
	now    control.Status
	state  state.Failover
	config state.Config
}

// runFault does the harm that make describes, takes it back, and says what followed. An error means that the drill could not be made; what it showed is in the report.
func runFault(ctx context.Context, o *operator, client *control.Client, within time.Duration, progress io.Writer, make func(faultContext) (fault, error)) (faultReport, error) {
	etcd, err := o.eachMember(ctx)
	if err != nil {
		return faultReport{}, err
	}
	defer etcd.close()
	d := &faultDrill{lossDrill: &lossDrill{operator: o, progress: progress, cells: etcd}, client: client, within: within}
	config, err := d.steady(ctx)
	if err != nil {
		return faultReport{}, err
	}
	now, err := client.Status(ctx)
	if err != nil {
		return faultReport{}, err
	}
	if d.fault, err = make(faultContext{o, client, now, d.before, config}); err != nil {
		return faultReport{}, err
	}
	if d.fault.must.moves == moved && !d.fault.must.lossless { // no rule holds a planned move back, or the arbiters say which
		d.options.region = layout.Region(d.before.Active)
		if err := d.prepare(ctx); err != nil {
			return faultReport{}, err
		}
	}
	mode, err := modesOf(ctx, client, d.before)
	if err != nil {
		return faultReport{}, err
	}
	d.fault.must.lossless = d.fault.must.lossless || mode.synchronous
	result, err := d.run(ctx, config)
	result.Mode = mode.String()
	return result, err
}

// steady waits for a stack that is whole, refuses to harm one that does not become so, and reads its timing.
func (d *faultDrill) steady(ctx context.Context) (state.Config, error) {
	why := ""
	err := d.await(ctx, d.within, "", func() bool {
		why = d.unsteady(ctx)
		return why == ""
	})
	if err != nil {
		return state.Config{}, fmt.Errorf("drill: the stack is not whole: %s; look at ofitec status", why)
	}
	value, _, err := d.cells.Read(ctx, state.KeyConfig)
	if err != nil {
		return state.Config{}, err
	}
	if value == nil {
		return state.Config{}, fmt.Errorf("drill: %s is missing: no arbiter has started yet", state.KeyConfig)
	}
	return state.Decode[state.Config](value)
}

func (d *faultDrill) unsteady(ctx context.Context) string {
	limited, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	var err error
	if d.before, d.revision, err = readFailover(limited, d.cells); err != nil {
		return err.Error()
	}
	status, err := d.client.Status(limited)
	switch {
	case err != nil:
		return err.Error()
	case d.before.Active == "":
		return "no region is active"
	}
	return or(d.underWay(limited, d.before), unready(status))
}

// run is the drill itself.
func (d *faultDrill) run(ctx context.Context, config state.Config) (faultReport, error) {
	watched := observe(ctx, d.cells, d.before, d.revision)
	defer watched.stop(d.fault.silences)
	w := startWriters(ctx, time.Now().UTC().Format("drill-20060102T150405"), d.layout, true, layout.DataRegions...)
	defer w.stop()
	if err := d.await(ctx, 30*time.Second, "the writers do not get through", func() bool { return len(w.seen()) >= 40 && w.held(layout.Region(d.before.Active)) }); err != nil {
		return faultReport{}, err
	}
	peer := layout.Region(d.before.Active).Peer()
	names := startClients(ctx, d.layout, d.layout.Addressing.Region[peer])
	defer names.stop()

	d.say("%s; %d writes were acknowledged so far", d.fault.name, len(w.seen()))
	began := time.Now()
	ended, err := d.harm(ctx, began, watched)
	if err != nil {
		return faultReport{}, err
	}
	e := faultEvidence{Fault: d.fault.name, Began: began, Ended: ended, Mandate: duration(config.Mandate), Must: d.fault.must, Before: d.before}
	settled, unsettled := d.settle(ctx, watched, w, ended)
	e.Unsettled = unsettled
	pause(ctx, 2*time.Second)
	e.Stopped = time.Now()
	w.stop()
	names.stop()
	watched.stop(d.fault.silences)
	if err := ctx.Err(); err != nil {
		return faultReport{}, err
	}
	e.Acks, e.Refused, e.Course, e.Forks = w.seen(), w.failed, watched.course, watched.forks
	d.read(ctx, &e, w)
	return d.judged(e, settled.Sub(ended), names, watched.strain), nil
}

// harm does the harm, holds it, and takes it back whatever happens meanwhile.
func (d *faultDrill) harm(ctx context.Context, began time.Time, watched *observer) (ended time.Time, err error) {
	if d.fault.end != nil {
		defer func() {
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, d.fault.end(limited))
			d.say("taken back after %.1f s", time.Since(began).Seconds())
		}()
	}
	ended = time.Now()
	if err := d.fault.begin(ctx); err != nil {
		return ended, err
	}
	pause(ctx, time.Until(began.Add(d.fault.lasts)))
	if d.fault.must.moves == moved {
		if err := d.await(ctx, d.within, "no other region is active", func() bool { return watched.epoch() > uint64(d.before.Epoch) }); err != nil {
			d.say("%v", err)
		}
	}
	return time.Now(), ctx.Err()
}

// settle waits until the stack is whole: steady, the other region a standby that streams, everything ready. It gives when that was, or why it is not.
func (d *faultDrill) settle(ctx context.Context, watched *observer, w *writers, ended time.Time) (time.Time, string) {
	why, said := "", time.Now()
	err := d.await(ctx, d.within, "", func() bool {
		if why = d.unsettled(ctx, watched, w, ended); why != "" && time.Since(said) > 5*time.Second {
			said = time.Now()
			d.say("not whole yet: %s", why)
		}
		return why == ""
	})
	if err != nil {
		d.say("not whole again: %s", why)
		return time.Now(), why
	}
	return time.Now(), ""
}

func (d *faultDrill) unsettled(ctx context.Context, watched *observer, w *writers, ended time.Time) string {
	status, err := d.client.Status(ctx)
	if err != nil {
		return err.Error()
	}
	if d.fault.back != nil {
		if why := d.fault.back(status); why != "" {
			return why
		}
	}
	if why := or(d.underWay(ctx, watched.last()), unready(status)); why != "" {
		return why
	}
	if countAfter(w.seen(), ended) == 0 {
		return "no write was acknowledged yet"
	}
	return ""
}

// underWay says what of a failover or a rejoin is not over yet; empty when all is.
func (d *faultDrill) underWay(ctx context.Context, now state.Failover) string {
	active := layout.Region(now.Active)
	answers := func(r layout.Region, path string) bool {
		return d.answers(ctx, "http://"+d.layout.Addressing.Addr(r, layout.PortArbiter)+path)
	}
	switch {
	case now.Phase != state.PhaseSteady:
		return "phase " + string(now.Phase) + heldBack(now)
	case now.Rejoin != nil:
		return "region " + string(now.Rejoin.Region) + " is no standby yet"
	case !answers(active, "/mandate"):
		return "region " + string(active) + " does not hold its mandate"
	case !answers(active.Peer(), "/standby"):
		return "region " + string(active.Peer()) + " is no standby that streams"
	}
	return ""
}

// essential is what a failover needs and what carries the users' work. The rotator, the deployer and the ETL come back in their own time, by their own retries.
var essential = []string{"nats", "etcd", "postgres", "haproxy-db", "haproxy-web", "failover-arbiter", "health-probe", "odoo-blue", "odoo-green", "bind"}

// unready names an essential component that is not ready; empty when all are.
func unready(status control.Status) string {
	for _, c := range status.Components {
		if !c.Ready && slices.Contains(essential, c.Name) {
			return fmt.Sprintf("%s/%s is not ready: %s", or(c.Region, "outside"), c.Name, c.Reason)
		}
	}
	return ""
}

// read asks both databases what they have, the standby until it has what the active one had.
func (d *faultDrill) read(ctx context.Context, e *faultEvidence, w *writers) {
	e.After = e.Course.states[len(e.Course.states)-1]
	active := layout.Region(e.After.Active)
	e.Stored, e.Standby = map[string]map[int64]bool{}, map[string]map[int64]bool{}
	for _, writer := range w.names() {
		// Asked again until they agree: a write whose client has given up may still be committed, or be on its way to the standby.
		err := d.await(ctx, 20*time.Second, "the two databases do not agree", func() bool {
			var here, there error
			e.Stored[writer], here = stored(ctx, d.layout, active, layout.PortWebProxy, writer)
			e.Standby[writer], there = stored(ctx, d.layout, active.Peer(), layout.PortOdooBlue, writer)
			return here == nil && there == nil && maps.Equal(e.Stored[writer], e.Standby[writer])
		})
		if err != nil {
			d.say("%s: %v", writer, err)
		}
	}
	e.Address, _ = lookup(ctx, fmt.Sprintf("%s:%d", d.layout.Addressing.Outside, layout.PortDNS))
	e.Want = d.layout.Addressing.Region[active]
}

// judged makes the report.
func (d *faultDrill) judged(e faultEvidence, settled time.Duration, names *clients, machine strain) faultReport {
	before := uint64(d.before.Epoch)
	result := faultReport{
		Fault: e.Fault, Began: e.Began.UTC(), Ended: e.Ended.UTC(), Before: standing(e.Before), After: standing(e.After), Settled: seconds(settled),
		Moved: e.After.Epoch > e.Before.Epoch, Checks: judgeFault(e), Writes: e.count(), Machine: machine, OK: true,
	}
	if d.fault.note != nil {
		result.Note = d.fault.note()
	}
	marks := []mark{{"the fault begins", e.Began}, {"it is taken back", e.Ended}, {"everything is whole again", e.Ended.Add(settled)}}
	if intent := e.Course.intent(before); intent != nil && result.Moved {
		times := recoveryOf(e.Began, intent, names.lastStale())
		result.Names = names.tails()
		result.Checks = append(result.Checks, followed(result.Names, layout.Region(e.After.Active)))
		result.Times, result.LossBound = &times, intent.Loss.Seconds
		marks = append(marks, mark{"the name leads to region " + string(intent.To), names.switched}, mark{"the last stale client has the new address", names.lastStale()})
	}
	marks = append(marks, e.Course.marks(before)...)
	marks = append(marks, e.lastOf(e.Before.Active)...)
	result.Timeline = timelineOf(e.Began, marks...)
	for _, c := range result.Checks {
		result.OK = result.OK && c.OK
	}
	return result
}

func standing(f state.Failover) regionEpoch { return regionEpoch{string(f.Active), uint64(f.Epoch)} }

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }
