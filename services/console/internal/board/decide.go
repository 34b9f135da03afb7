package board

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// What is older than this is not known any more.
const (
	freshDocuments    = 6 * time.Second
	freshObservations = 6 * time.Second
	freshAnswers      = 6 * time.Second
)

// The mandate's length where etcd does not say it: the local profile of protocol.md.
const (
	defaultMandate = 5 * time.Second
	readingMargin  = 1500 * time.Millisecond // we read twice a second, and may be late
)

const (
	showEntries = 60 // of all domains together
	showEnded   = 1  // versions that have ended
	showSamples = 120
)

// Decide says what the page shows at a time. Nothing in the view is shared with the board that a later Apply would change.
func Decide(b *Board, now time.Time) View {
	writer := b.writer(now)
	return View{
		Writer: writer, Regions: b.regions(now), Failover: b.failover, Credentials: b.credentials(), Warehouse: b.freshness(writer),
		Money: b.moneyNow(now), Events: b.entries(), Sources: sorted(b.sources),
	}
}

func (b *Board) writer(now time.Time) Writer {
	d := b.documents
	w := Writer{Known: d.read && now.Sub(d.at) <= freshDocuments, Mandate: "none", Phase: "unknown"}
	if f := d.failover; f != nil {
		w.Region, w.Epoch, w.Phase, w.Sync = f.Active, uint64(f.Epoch), string(f.Phase), f.Sync == state.SyncOn
		w.Since = b.since(*f)
		if f.Intent != nil {
			w.To, w.Cause = f.Intent.To, string(f.Intent.Cause)
		}
		if f.Pause != nil && (f.Pause.Until == nil || now.Before(*f.Pause.Until)) {
			w.Paused, w.Until = &Act{f.Pause.Act.Actor, f.Pause.Act.Reason, f.Pause.Act.At}, f.Pause.Until
		}
		if f.Cooldown != nil && f.Cooldown.Acknowledged == nil && now.Before(f.Cooldown.Until) {
			w.Cooldown = &f.Cooldown.Until
		}
		if f.Rejoin != nil {
			w.Rejoin = f.Rejoin.Region
		}
	}
	switch {
	case !w.Known:
		w.Mandate = "unknown"
	case d.mandate == nil || d.failover == nil || d.failover.Active == "":
		w.Mandate = "none"
	case d.mandate.Owner != d.failover.Active || d.mandate.Epoch != d.failover.Epoch || now.Sub(d.renewed) > b.mandateTime():
		w.Mandate = "ended"
	default:
		w.Mandate = "held"
	}
	return w
}

func (b *Board) mandateTime() time.Duration {
	length := defaultMandate
	if c := b.documents.config; c != nil {
		length = time.Duration((c.Mandate + c.Delta) * float64(time.Second))
	}
	return length + readingMargin
}

// since is when the mandate in force was granted: as the promotion said, or as the phase tells where that fact is out of reach.
func (b *Board) since(f state.Failover) *time.Time {
	if at, ok := b.mandates[uint64(f.Epoch)]; ok {
		return &at
	}
	if f.Intent != nil && f.Intent.Epoch == f.Epoch {
		for _, step := range f.Intent.Steps {
			if step.Phase == state.PhasePromoted {
				return &step.At
			}
		}
	}
	if f.Phase == state.PhaseSteady && f.Active != "" {
		return &f.Since
	}
	return nil
}

func (b *Board) regions(now time.Time) []Region {
	list := make([]Region, 0, len(events.Regions))
	for _, r := range events.Regions {
		list = append(list, b.region(r, now))
	}
	return list
}

func (b *Board) region(r events.Region, now time.Time) Region {
	region := Region{Region: r, Role: "unknown", Observers: []Observer{}}
	answer, asked := b.answers[r]
	asked = asked && now.Sub(answer.at) <= freshAnswers
	report, reported := b.documents.reports[r]
	if reported {
		region.Database, region.Streaming = string(report.Database.Condition), report.Database.Streaming
	}
	ok, failed := b.observers(&region, now)
	switch {
	case asked && !answer.Reached:
		region.Role, region.Reason = "down", answer.Reason
	case asked && !r.HoldsData():
		region.Role = "quorum"
	case asked && answer.Mandate:
		region.Role = "primary"
	case asked && answer.Standby:
		region.Role = "standby"
	case asked:
		region.Role, region.Reason = "fenced", answer.Reason
	}
	majority := len(events.Regions)/2 + 1
	switch {
	case ok >= majority:
		region.Health = "up"
	case failed >= majority:
		region.Health = "down"
	case len(region.Observers) == 0 && asked:
		region.Health = "down"
		if answer.Reached {
			region.Health = "up"
		}
	default:
		region.Health = "unknown"
	}
	if region.Role == "standby" {
		region.Lag = b.lag(r, now)
	}
	return region
}

// observers fills in what each probe sees of the region, and counts. A region that nobody observes has none.
func (b *Board) observers(region *Region, now time.Time) (ok, failed int) {
	for _, observer := range events.Regions {
		o, heard := b.observed[pair{observer, region.Region}]
		if !heard {
			continue
		}
		sees := Observer{Region: observer, Sees: string(o.health.Verdict), Why: why(o.health.Checks)}
		switch {
		case now.Sub(o.at) > freshObservations:
			sees.Sees, sees.Why = "silent", ""
		case o.health.Verdict == events.OutcomeOK:
			ok++
		case o.health.Verdict == events.OutcomeFailed:
			failed++
		}
		if g := o.health.Gates; g != nil && sees.Sees != "silent" && (region.P95 == nil || observer == region.Region) {
			region.P95, region.ErrorRate = g.P95Seconds, g.ErrorRate
		}
		region.Observers = append(region.Observers, sees)
	}
	for _, observer := range events.Regions {
		named := slices.ContainsFunc(region.Observers, func(o Observer) bool { return o.Region == observer })
		if len(region.Observers) > 0 && !named {
			region.Observers = append(region.Observers, Observer{Region: observer, Sees: "silent"})
		}
	}
	slices.SortFunc(region.Observers, func(x, y Observer) int { return cmp.Compare(x.Region, y.Region) })
	return ok, failed
}

// why is the first check that is not good.
func why(c events.Checks) string {
	for _, check := range []struct {
		name   string
		result *events.CheckResult
	}{{"http", c.HTTP}, {"postgres", c.Postgres}, {"prometheus", c.Prometheus}, {"dns", c.DNS}} {
		if check.result != nil && check.result.Outcome != events.OutcomeOK {
			return check.name + ": " + check.result.Reason
		}
	}
	return ""
}

// lag is what the observers read in the gates, or else what etcd tells: newest heartbeat of the primary less that of the standby, both on the primary's clock.
func (b *Board) lag(r events.Region, now time.Time) *float64 {
	var newest time.Time
	var lag *float64
	for _, observer := range events.Regions {
		o, heard := b.observed[pair{observer, r}]
		if heard && now.Sub(o.at) <= freshObservations && o.health.Gates != nil && o.health.Gates.ReplicationLag != nil && o.at.After(newest) {
			newest, lag = o.at, o.health.Gates.ReplicationLag
		}
	}
	if lag == nil {
		report, ok := b.documents.reports[r]
		m := b.documents.mandate
		if !ok || m == nil || m.HeartbeatAt == nil || report.Database.HeartbeatAt == nil || now.Sub(b.documents.at) > freshDocuments {
			return nil
		}
		seconds := max(m.HeartbeatAt.Sub(*report.Database.HeartbeatAt).Seconds(), 0)
		lag = &seconds
	}
	rounded := math.Round(*lag*10) / 10
	return &rounded
}

func (b *Board) credentials() []Credential {
	list := []Credential{}
	for _, c := range b.documents.credentials {
		shown := Credential{Name: c.Name, Kind: string(c.Method), Alarm: c.Alarm, NextAt: c.NextAt, Attempt: c.Attempt, Grace: c.Grace, Versions: []Version{}, Rollouts: []Rollout{}}
		ended := 0
		for _, v := range slices.Backward(c.Versions) {
			version := versionOf(v)
			if !version.Live {
				if ended++; ended > showEnded {
					continue
				}
			}
			shown.Versions = append(shown.Versions, version)
		}
		for _, d := range b.documents.deployments {
			if d.Name == c.Name {
				shown.Rollouts = append(shown.Rollouts, rolloutOf(d))
			}
		}
		slices.SortFunc(shown.Rollouts, func(x, y Rollout) int { return cmp.Compare(x.Region, y.Region) })
		list = append(list, shown)
	}
	slices.SortFunc(list, func(x, y Credential) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

// rolloutOf keeps the newest samples only: more than that nobody tells apart in a plot.
func rolloutOf(d state.Deployment) Rollout {
	return Rollout{
		Region: d.Region, Version: d.Number, Phase: string(d.Phase), Hot: string(d.Hot), Since: d.Since, Reason: d.Reason,
		Colour: string(d.Colour), Standby: d.Standby, Switched: d.SwitchedAt, Readings: d.Readings, Limits: d.Limits, Samples: d.Samples[max(len(d.Samples)-showSamples, 0):],
	}
}

func versionOf(v state.CredentialVersion) Version {
	ended := v.Stage == state.StageRevoked || v.Stage == state.StageRejected || v.Stage == state.StageRolledBack
	version := Version{
		Number: v.Number, Stage: string(v.Stage), User: v.User, Minted: v.MintedAt, Renewed: v.RenewedAt, TTL: v.TTL, Reason: v.Reason, Live: !ended,
	}
	if !v.ExpiresAt.IsZero() {
		version.Expires = &v.ExpiresAt
	}
	if !v.DeadlineAt.IsZero() {
		version.Deadline = &v.DeadlineAt
	}
	return version
}

// freshness joins what the facts say with what the active region's etl-transform says of itself.
func (b *Board) freshness(writer Writer) Warehouse {
	w := b.warehouse
	datasets := map[string]Dataset{}
	for name, d := range b.datasets {
		datasets[name] = d
	}
	if s := b.status; s != nil && (s.Region == writer.Region || writer.Region == "") {
		w.Region, w.Failure = s.Region, s.Failure
		for _, told := range s.Datasets {
			d := datasets[told.Name]
			d.Name, d.Rows, d.Quarantined = told.Name, told.Rows, told.Quarantined
			if told.AsOf != nil && (d.AsOf == nil || told.AsOf.After(*d.AsOf)) {
				d.AsOf = told.AsOf
			}
			datasets[told.Name] = d
		}
	}
	w.Datasets = sorted(datasets)
	if w.Marts == nil {
		w.Marts = []Mart{}
	}
	return w
}

// santiago is how far the clock of America/Santiago is behind UTC in winter; in summer it is an hour less, which shows for an hour at the end of a month.
const santiago = 4 * time.Hour

// moneyNow marks the month that is not over: its figures are those of a part of it.
func (b *Board) moneyNow(now time.Time) Money {
	m := b.money
	if m.State == "" {
		m.State = "away"
	}
	today := now.UTC().Add(-santiago).Format(time.DateOnly)
	months := make([]Month, len(m.Months))
	for n, month := range m.Months {
		month.Open = month.End >= today
		months[n] = month
	}
	m.Months = months
	return m
}

// entries are the last facts, newest first. Each domain keeps some of its own, so that a busy one does not push the others out of the list that is filtered.
func (b *Board) entries() []Entry {
	list := []Entry{}
	for domain, kept := range b.past {
		share := showEntries
		if domain == "export" || domain == "warehouse" {
			share = showEntries / 2
		}
		for _, k := range kept[max(len(kept)-share, 0):] {
			list = append(list, k.Entry)
		}
	}
	slices.SortFunc(list, func(x, y Entry) int { return cmp.Compare(y.Sequence, x.Sequence) })
	return list
}
