// Package board folds what the console hears and reads into what its page shows. It does no I/O and reads no clock: inputs are values, now is a parameter.
package board

import (
	"maps"
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// Limits of memory.
const (
	keepEntries  = 60 // of each domain
	keepDatasets = 100
)

// Board is what is known. Its zero value knows nothing. It is not safe for concurrent use.
type Board struct {
	documents documents
	observed  map[pair]observation
	answers   map[events.Region]answered
	failover  *Failover
	mandates  map[uint64]time.Time // when a mandate was granted, by epoch
	datasets  map[string]Dataset
	warehouse Warehouse
	status    *Transform
	money     Money
	sources   map[string]Source
	past      map[string][]kept // by domain, oldest first
	last      uint64            // sequence of the last fact
}

type documents struct {
	read        bool
	at          time.Time // when etcd answered last
	failover    *state.Failover
	mandate     *state.Mandate
	revision    int64     // of the mandate
	renewed     time.Time // when that revision was first seen, by our own clock
	config      *state.Config
	reports     map[events.Region]state.Report
	credentials []state.Credential
	deployments []state.Deployment
}

type pair struct{ observer, target events.Region }

type observation struct {
	at     time.Time // when it came, by our own clock
	health events.HealthObserved
}

type answered struct {
	at time.Time
	Answer
}

type kept struct {
	Entry
	event events.Event
}

// Input is something that the console has heard or read.
type Input interface{ input() }

// Documents is what stands in etcd, read at once. A document that could not be read is left out and named in Unread.
type Documents struct {
	Failover        *state.Failover
	Mandate         *state.Mandate
	MandateRevision int64
	Config          *state.Config
	Reports         []state.Report
	Credentials     []state.Credential
	Deployments     []state.Deployment
	Unread          []string
}

// Fact is an event of the stream FACTS. Payload is nil for a type that this build does not know.
type Fact struct {
	Sequence uint64
	Event    events.Event
	Payload  events.Payload
}

// Seen is a live observation.
type Seen struct{ Health events.HealthObserved }

// Answer is what a region's arbiter says when asked whether its region may write, or serves as a standby.
type Answer struct {
	Region  events.Region
	Reached bool
	Mandate bool
	Standby bool
	Reason  string
}

// Transform is what the active region's etl-transform says of its datasets.
type Transform struct {
	Region   events.Region
	Failure  string // why its last publication failed
	Datasets []Dataset
}

// Months is what readers of the warehouse see.
type Months struct{ Money }

// Answers says whether a source of knowledge answers; an empty reason means that it does.
type Answers struct{ Name, Reason string }

func (Documents) input() {}
func (Fact) input()      {}
func (Seen) input()      {}
func (Answer) input()    {}
func (Transform) input() {}
func (Months) input()    {}
func (Answers) input()   {}

// Apply takes an input in.
func (b *Board) Apply(input Input, now time.Time) {
	switch in := input.(type) {
	case Documents:
		b.read(in, now)
	case Fact:
		b.hear(in)
	case Seen:
		put(&b.observed, pair{in.Health.Observer, in.Health.Target}, observation{now, in.Health})
	case Answer:
		put(&b.answers, in.Region, answered{now, in})
	case Transform:
		b.status = &in
	case Months:
		b.money = in.Money
	case Answers:
		b.answer(in, now)
	}
}

func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

func (b *Board) read(in Documents, now time.Time) {
	d := &b.documents
	if d.revision != in.MandateRevision || d.mandate == nil {
		d.renewed = now
	}
	d.read, d.at, d.revision = true, now, in.MandateRevision
	d.failover, d.mandate, d.config = in.Failover, in.Mandate, in.Config
	d.credentials, d.deployments = in.Credentials, in.Deployments
	d.reports = map[events.Region]state.Report{}
	for _, report := range in.Reports {
		d.reports[report.Region] = report
	}
}

func (b *Board) answer(in Answers, now time.Time) {
	source := Source{Name: in.Name, OK: in.Reason == "", Reason: in.Reason, Since: &now}
	if before, ok := b.sources[in.Name]; ok && before.OK == source.OK {
		source.Since = before.Since
	}
	put(&b.sources, in.Name, source)
}

// Detail is a fact of the list as it was published.
func (b *Board) Detail(sequence uint64) (events.Event, bool) {
	for _, domain := range b.past {
		for _, k := range domain {
			if k.Sequence == sequence {
				return k.event, true
			}
		}
	}
	return events.Event{}, false
}

// Last is the sequence of the last fact that was heard; 0 for none.
func (b *Board) Last() uint64 { return b.last }

func (b *Board) keep(in Fact) {
	domain := in.Event.Type.Domain()
	entry := kept{Entry: entryOf(in), event: in.Event}
	list := append(b.past[domain], entry)
	if len(list) > keepEntries {
		list = slices.Clone(list[len(list)-keepEntries:])
	}
	put(&b.past, domain, list)
}

// sorted gives a map's values in the order of its keys.
func sorted[K ~string, V any](m map[K]V) []V {
	list := make([]V, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[key])
	}
	return list
}
