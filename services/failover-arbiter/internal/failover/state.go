package failover

import (
	"maps"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// State is what one arbiter knows. It is a value: Decide gives the next one. Its zero value is not usable, see New.
type State struct {
	settings Settings
	term     int64 // 0: this arbiter does not lead

	heard      table[hearing]
	positioned table[position]

	view         *Read         // the newest, nil before the first one
	readAt       time.Duration // when it came, on the boot clock
	readingSince time.Duration // since when reads come without a gap
	mandateSince Instant       // when the mandate's revision was first seen
	phaseSince   time.Duration // when this epoch and phase were first seen
	reports      map[events.Region]reporting
	restarting   map[events.Region]time.Duration // since when a region reports so; absent: it does not
	down         map[events.Region]time.Time     // since when a majority says so
	red          map[events.Region]time.Duration // since when a majority says that its gates are red

	mirror  mirror
	opened  opening
	asked   asking // the oldest request that is not answered
	named   Named
	trouble trouble
}

// sight is an observer and what it looks at.
type sight struct{ observer, target events.Region }

// hearing is an accepted report. Its age when it came is kept, so that what waited on the bus is not younger than it is.
type hearing struct {
	report events.HealthObserved
	at     time.Duration // on the boot clock
	late   time.Duration
}

type position struct {
	report events.ReplicationObserved
	at     time.Duration
	late   time.Duration
}

// asking is when a request was first seen to be the next one.
type asking struct {
	id    string
	since time.Duration // on the boot clock
}

// opening is when the mandate of an epoch was first seen: from then on its owner takes writes.
type opening struct {
	epoch events.Epoch
	at    time.Time
}

// reporting is when a region's report was first seen as it is.
type reporting struct {
	revision int64
	since    time.Duration
}

// trouble is a rule that holds, or the calm since one held last.
type trouble struct {
	rule  string
	since time.Duration // on the boot clock
}

// New is the state of a process that has just started: it has heard nothing and does not lead.
func New(settings Settings) State {
	if settings.Data == nil {
		settings.Data = events.DataRegions
	}
	return State{settings: settings}
}

// table holds the newest of each sight. It is copied when it changes: the one before stays as it was.
type table[T any] []*T

// place is where a sight stands, -1 for one that has no place.
func (s State) place(key sight) int {
	target, observer := slices.Index(s.settings.Data, key.target), slices.Index(s.settings.Observers, key.observer)
	if target < 0 || observer < 0 {
		return -1
	}
	return target*len(s.settings.Observers) + observer
}

// row are the sights of one target, in the order of the observers; nil when nothing is heard of it.
func row[T any](s State, t table[T], target events.Region) table[T] {
	n := slices.Index(s.settings.Data, target)
	if n < 0 || t == nil {
		return nil
	}
	return t[n*len(s.settings.Observers) : (n+1)*len(s.settings.Observers)]
}

func (t table[T]) put(s State, place int, entry *T) table[T] {
	next := make(table[T], len(s.settings.Data)*len(s.settings.Observers))
	copy(next, t)
	next[place] = entry
	return next
}

// with gives a map with one entry changed; the old one stays as it was.
func with[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	m = maps.Clone(m)
	if m == nil {
		m = map[K]V{}
	}
	m[key] = value
	return m
}

func without[K comparable, V any](m map[K]V, key K) map[K]V {
	if _, found := m[key]; !found {
		return m
	}
	m = maps.Clone(m)
	delete(m, key)
	return m
}

// Wanted is whom the DNS name has to lead to, and under which epoch; ok is false while nobody may say.
func (s State) Wanted() (region events.Region, epoch events.Epoch, ok bool) {
	if s.term == 0 || !s.trusted() {
		return "", 0, false
	}
	f := s.view.Failover
	moving := f.Phase == state.PhaseIntent || f.Phase == state.PhaseFenced
	return f.Active, f.Epoch, !moving
}

// trusted says whether etcd's state may be acted upon: it is there, no older than what this region has seen, and of the same timing.
func (s State) trusted() bool {
	v := s.view
	if v == nil || v.Failover == nil || v.Failover.Active == "" || v.Config != nil && *v.Config != s.settings.Shared {
		return false
	}
	reach := v.Failover.Epoch
	if i := v.Failover.Intent; i != nil {
		reach = max(reach, i.Epoch) // the target has noted it before it promotes
	}
	return reach >= v.Known
}

// Alarm is how much there is to look out for.
type Alarm int

// The alarms: nothing looks wrong; an observer has seen a failure or a rule holds; a region is down.
const (
	Calm Alarm = iota
	Alert
	Alarmed
)

// Alarm says how soon the next Read should come.
func (s State) Alarm(now Instant) Alarm {
	alarm := Calm
	if s.trouble.rule != "" && s.trouble.rule != RuleBlind { // who hears nobody need not read more often
		alarm = Alert
	}
	for _, region := range s.settings.Data {
		if s.isDown(region, now) {
			return Alarmed
		}
		for _, h := range row(s, s.heard, region) {
			if h != nil && h.report.Verdict == events.OutcomeFailed && h.age(now) <= s.settings.Window {
				alarm = Alert
			}
		}
	}
	return alarm
}

// Status is what there is to be seen of an arbiter's judgement.
type Status struct {
	Term     int64                        `json:"term"` // 0: it does not lead
	Failover *state.Failover              `json:"state"`
	Revision int64                        `json:"revision"`
	Trusted  bool                         `json:"trusted"`
	Rule     string                       `json:"rule,omitempty"`    // that holds, as far as this arbiter sees; only of a leader
	Against  string                       `json:"against,omitempty"` // why the other region could not take over now, if the active one died
	Loss     events.LossBound             `json:"loss"`              // the most that this would lose
	Regions  map[events.Region]Impression `json:"regions"`
	Name     Named                        `json:"name"`
}

// Impression is how a region looks.
type Impression struct {
	Fresh      int            `json:"fresh"`   // observers that were heard lately
	Failing    int            `json:"failing"` // of these, those that saw enough failures in a row
	Down       bool           `json:"down"`
	Gates      events.Outcome `json:"gates"`
	ReportAge  *float64       `json:"report_age_seconds"` // null: none
	Restarting bool           `json:"restarting"`
}

// Status gives the newest judgement.
func (s State) Status(now Instant) Status {
	status := Status{Term: s.term, Trusted: s.trusted(), Rule: s.trouble.rule, Regions: map[events.Region]Impression{}, Name: s.named}
	if s.view != nil {
		status.Failover, status.Revision = s.view.Failover, s.view.FailoverRevision
	}
	if f := status.Failover; f != nil && f.Active != "" {
		target, rule, reason := s.rule(call{cause: events.CauseDown}, now)
		if rule != "" {
			status.Against = rule + ": " + reason
		}
		status.Loss = s.loss(target, now)
	}
	for _, region := range s.settings.Data {
		seen := s.look(region, now)
		i := Impression{Fresh: seen.fresh, Failing: len(seen.failing), Down: s.isDown(region, now), Gates: s.verdict(seen)}
		_, i.Restarting = s.restarting[region]
		if r, found := s.reports[region]; found {
			age := (now.Boot - r.since).Seconds()
			i.ReportAge = &age
		}
		status.Regions[region] = i
	}
	return status
}
