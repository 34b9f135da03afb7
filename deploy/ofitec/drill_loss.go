package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// lossDrill is one loss of a region under way.
type lossDrill struct {
	*operator
	options  lossOptions
	progress io.Writer
	cells    cells         // of the members that stay
	survivor layout.Region // that has the writes afterwards
	moved    bool
	mode     modes
	before   state.Failover
	revision int64
}

// regionLoss loses a region and says what followed. An error means that the drill could not be made; what it showed is in the report.
func regionLoss(ctx context.Context, o *operator, client *control.Client, options lossOptions, progress io.Writer) (lossReport, error) {
	var stay []layout.Region
	for _, r := range layout.Regions {
		if r != options.region {
			stay = append(stay, r)
		}
	}
	etcd, err := o.eachMember(ctx, stay...)
	if err != nil {
		return lossReport{}, err
	}
	defer etcd.close()
	d := &lossDrill{operator: o, options: options, progress: progress, cells: etcd}
	if err := d.prepare(ctx); err != nil {
		return lossReport{}, err
	}
	if d.mode, err = modesOf(ctx, client, d.before); err != nil {
		return lossReport{}, err
	}
	w := startWriters(ctx, time.Now().UTC().Format("drill-20060102T150405"), o.layout, false, layout.DataRegions...)
	defer w.stop()
	if err := d.await(ctx, 30*time.Second, "the writers do not get through", func() bool { return len(w.seen()) >= 40 }); err != nil {
		return lossReport{}, err
	}
	watching := startClients(ctx, o.layout, o.layout.Addressing.Region[d.survivor])
	defer watching.stop()
	felt := observe(ctx, d.cells, d.before, d.revision)
	defer felt.stop(false)
	killed := d.killLeader(ctx, client)

	d.say("losing region %s; %d writes were acknowledged so far", options.region, len(w.seen()))
	loss, err := client.LoseRegion(ctx, string(options.region), options.how)
	if err != nil {
		return lossReport{}, d.left(ctx, err)
	}
	d.say("region %s is lost: %d components dead after %.2f s", options.region, loss.Units, loss.Dead.Sub(loss.At).Seconds())
	seen := d.watch(ctx, loss, w, watching)
	ended := time.Now()
	w.stop()
	watching.stop()
	felt.stop(false)
	result, err := d.report(ctx, loss, seen, w, ended, watching)
	if err != nil {
		return lossReport{}, d.left(ctx, err)
	}
	result.Machine, result.LeaderKill = felt.strain, killed()
	if d.options.killAt != "" {
		result.Checks = append(result.Checks, check{"the elected arbiter was killed in phase " + d.options.killAt, result.LeaderKill != nil, fmt.Sprint(result.LeaderKill)})
		result.OK = result.OK && result.LeaderKill != nil
	}
	return result, nil
}

// left says what stays when a drill ends before its time: the stack takes a region away to the end, also when nobody waits for it.
func (d *lossDrill) left(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("%w; region %s is taken away all the same, and stays down; bring it back with: ofitec drill restore %s", err, d.options.region, d.options.region)
}

func (d *lossDrill) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.progress, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// prepare finds out what is to happen, and refuses where a rule would rightly keep the arbiters from it.
func (d *lossDrill) prepare(ctx context.Context) (err error) {
	if err := d.await(ctx, 45*time.Second, "synchronous replication is wanted and not in force", func() bool {
		d.before, d.revision, err = readFailover(ctx, d.cells)
		return err != nil || d.before.SyncWanted != state.SyncOn || d.before.Sync == state.SyncOn
	}); err != nil {
		return fmt.Errorf("drill region-loss: %w", err)
	}
	if err != nil {
		return err
	}
	f := d.before
	if f.Active == "" || f.Phase != state.PhaseSteady {
		return fmt.Errorf("drill region-loss: region %q is active in phase %s: wait until a region is active and steady", f.Active, f.Phase)
	}
	d.survivor = layout.Region(f.Active)
	if d.survivor != d.options.region {
		if d.options.killAt != "" {
			return fmt.Errorf("drill region-loss: --kill-leader-at %s: region %s is not active, so that there will be no failover", d.options.killAt, d.options.region)
		}
		return nil
	}
	d.moved, d.survivor = true, d.survivor.Peer()
	if f.Pause != nil {
		return fmt.Errorf("drill region-loss: the arbiters are paused by %s (%s) and would do nothing; ofitec failover resume --reason ... first", f.Pause.Act.Actor, f.Pause.Act.Reason)
	}
	if c := f.Cooldown; c != nil && c.Acknowledged == nil && time.Now().Before(c.Until) {
		return fmt.Errorf("drill region-loss: the last failover's cooldown lasts until %s and would hold the next one; ofitec failover acknowledge --reason ... first", c.Until.Local().Format(time.TimeOnly))
	}
	why := ""
	if err := d.await(ctx, 45*time.Second, "", func() bool {
		why = d.unfit(ctx)
		return why == ""
	}); err != nil {
		return fmt.Errorf("drill region-loss: region %s cannot take over now: %s", d.survivor, why)
	}
	return nil
}

// unfit says why the survivor would not be chosen; empty when it would.
func (d *lossDrill) unfit(ctx context.Context) string {
	if !d.answers(ctx, "http://"+d.layout.Addressing.Addr(d.survivor, layout.PortArbiter)+"/standby") {
		return "it is no standby that streams"
	}
	if lag := d.lag(ctx, d.survivor); lag == nil || *lag > 60 {
		return "its replication lag is unknown or large"
	}
	if gate := d.recorded(ctx, d.survivor, "gate:healthy"); gate == nil || *gate != 1 {
		return "its gate:healthy is not 1"
	}
	return ""
}

// watch waits for all that is to happen; that some of it did not is for the judge.
func (d *lossDrill) watch(ctx context.Context, loss control.Loss, w *writers, watching *clients) course {
	if !d.moved {
		d.say("region %s was not active; the writers go on for %s", d.options.region, 5*time.Second+d.options.settle)
		pause(ctx, 5*time.Second+d.options.settle)
		return course{states: []state.Failover{d.before}}
	}
	limited, cancel := context.WithDeadline(ctx, loss.At.Add(d.options.within))
	defer cancel()
	seen, err := follow(limited, d.cells, d.before, d.revision, events.Region(d.survivor))
	if err != nil {
		d.say("%v", err)
	} else {
		d.say("region %s is active under epoch %d, %.2f s after the loss", d.survivor, uint64(seen.states[len(seen.states)-1].Epoch), time.Since(loss.At).Seconds())
	}
	if d.mode.waits(d.options.region) {
		d.say("writes wait until a standby is back")
	} else if err := d.await(ctx, 15*time.Second, "no write was acknowledged in region "+string(d.survivor), func() bool { return w.servedBy(d.survivor, loss.At) > 0 }); err != nil {
		d.say("%v", err)
	}
	if err := d.await(ctx, 15*time.Second, "a client still has the old address", watching.allFresh); err != nil {
		d.say("%v", err)
	}
	pause(ctx, d.options.settle)
	return seen
}

// report joins and judges what was seen.
func (d *lossDrill) report(ctx context.Context, loss control.Loss, seen course, w *writers, ended time.Time, watching *clients) (lossReport, error) {
	now, _, err := readFailover(ctx, d.cells)
	if err != nil {
		return lossReport{}, err
	}
	e := drillEvidence{
		Lost: d.options.region, Survivor: d.survivor, Began: loss.At, Ended: ended, MaxOutage: d.options.maxOutage, Acks: w.seen(), Stored: map[string]map[int64]bool{},
		Active: string(now.Active), Epoch: uint64(now.Epoch), Before: uint64(d.before.Epoch), Address: watching.last, Want: watching.want, Moved: d.moved,
		Dead: loss.Dead, Lossless: d.mode.synchronous, Waits: d.mode.waits(d.options.region),
	}
	for _, door := range layout.DataRegions {
		if e.Stored[w.writer(door)], err = stored(ctx, d.layout, d.survivor, layout.PortWebProxy, w.writer(door)); err != nil {
			d.say("%v", err)
		}
	}
	marks := []mark{{"lost: the kill begins", loss.At}, {"every process of region " + string(d.options.region) + " is gone", loss.Dead}}
	intent := seen.intent(uint64(d.before.Epoch))
	if d.moved {
		e.Fork = d.fork(ctx, now)
		e.Fenced, e.Promoted = stepTime(intent, state.PhaseFenced), stepTime(intent, state.PhasePromoted)
		marks = append(marks, seen.marks(uint64(d.before.Epoch))...)
		marks = append(marks, firstAndLast(e)...)
		marks = append(marks, mark{"the name leads to region " + string(d.survivor), watching.switched}, mark{"the last stale client has the new address", watching.lastStale()})
	}
	e.Timeline = timelineOf(loss.At, marks...)
	result := lossReport{
		Region: d.options.region, Survivor: d.survivor, Moved: d.moved, How: loss, Timeline: e.Timeline, Checks: judge(e), Writes: e.count(w.failed), OK: true, Mode: d.mode.String(),
		Times: recoveryOf(loss.At, intent, watching.lastStale()),
	}
	if d.moved {
		result.Names = watching.tails()
		result.Checks = append(result.Checks, followed(result.Names, d.survivor))
	}
	if intent != nil {
		result.LossSeconds, result.LossBytes = intent.Loss.Seconds, intent.Loss.Bytes
	}
	for _, c := range result.Checks {
		result.OK = result.OK && c.OK
	}
	return result, nil
}

// firstAndLast are the last write that the lost region acknowledged and the first one of the survivor.
func firstAndLast(e drillEvidence) []mark {
	last, first := mark{What: "last write acknowledged in region " + string(e.Lost)}, mark{What: "first write acknowledged in region " + string(e.Survivor)}
	for _, a := range e.Acks {
		if a.ServedBy == e.Lost && a.Received.After(last.At) {
			last.At = a.Received
		}
		if a.ServedBy == e.Survivor && (first.At.IsZero() || a.Received.Before(first.At)) {
			first.At = a.Received
		}
	}
	return []mark{last, first}
}

// fork is where the new timeline left the old one: by the promoted region's own report, else by the state.
func (d *lossDrill) fork(ctx context.Context, now state.Failover) events.LSN {
	value, _, err := d.cells.Read(ctx, state.ReportKey(events.Region(d.survivor)))
	if err == nil && value != nil {
		if said, err := state.Decode[state.Report](value); err == nil && said.Promotion != nil && said.Promotion.Done && said.Promotion.Epoch == now.Epoch {
			return said.Promotion.LSN
		}
	}
	if now.Rejoin != nil && now.Rejoin.ForkLSN != nil {
		return *now.Rejoin.ForkLSN
	}
	return 0
}

// await waits for a condition; the error says what did not come true.
func (d *lossDrill) await(ctx context.Context, within time.Duration, what string, met func() bool) error {
	limited, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for !met() {
		if pause(limited, 50*time.Millisecond); limited.Err() != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("%s within %s", what, within))
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// recorded is the newest value of a recorded rule in a region's own Prometheus; nil when it has none.
func (o *operator) recorded(ctx context.Context, r layout.Region, rule string) *float64 {
	return o.query(ctx, "http://"+o.layout.Addressing.Addr(r, layout.PortPrometheus)+"/api/v1/query?query="+url.QueryEscape(rule))
}
