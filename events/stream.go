package events

import (
	"slices"
	"time"
)

// Names of the streams.
const (
	StreamHealth = "HEALTH"
	StreamFacts  = "FACTS"
	StreamJobs   = "JOBS"
	StreamParked = "PARKED"
)

// Retention is what makes a stream let go of a message.
type Retention string

// The retentions: by limits only, or when its one consumer has acknowledged it.
const (
	RetainLimits    Retention = "limits"
	RetainWorkQueue Retention = "workqueue"
)

// Discard is what a full stream does.
type Discard string

// The ways: drop the oldest message, or refuse the new one.
const (
	DiscardOld Discard = "old"
	DiscardNew Discard = "new"
)

const (
	day = 24 * time.Hour
	gib = 1 << 30
)

// Stream is how one stream is kept. All are stored in files.
type Stream struct {
	Name       string
	Subjects   []string
	Retention  Retention
	Discard    Discard
	MaxAge     time.Duration // 0: for ever
	MaxBytes   int64         // 0: no limit of its own
	DenyDelete bool          // no message can be deleted
	DenyPurge  bool          // the stream cannot be emptied
	Duplicates time.Duration // window in which an equal message id is dropped
	Summary    string
}

// Streams lists all streams. FACTS names every domain that is neither an observation nor a command: one order over all of them is the audit trail.
var Streams = []Stream{
	{
		Name: StreamHealth, Subjects: []string{"ofitec.*.health.>", "ofitec.*.replication.>"},
		Retention: RetainLimits, Discard: DiscardOld, MaxAge: 7 * day, MaxBytes: 16 * gib, Duplicates: 2 * time.Minute,
		Summary: "Observations, for what-if replays. About 14 GB a week and replica at full rate.",
	},
	{
		Name: StreamFacts, Subjects: []string{"ofitec.*.failover.>", "ofitec.*.credential.>", "ofitec.*.export.>", "ofitec.*.warehouse.>"},
		Retention: RetainLimits, Discard: DiscardNew, MaxAge: 400 * day, DenyDelete: true, DenyPurge: true, Duplicates: 2 * time.Minute,
		Summary: "What happened: the audit trail, one order over all domains.",
	},
	{
		Name: StreamJobs, Subjects: []string{"ofitec.*.job.>"},
		Retention: RetainWorkQueue, Discard: DiscardOld, Duplicates: 2 * time.Minute,
		Summary: "Commands from the command line and the console.",
	},
	{
		Name: StreamParked, Subjects: []string{"ofitec.*.parked.>"},
		Retention: RetainLimits, Discard: DiscardOld, MaxAge: 30 * day, Duplicates: 2 * time.Minute,
		Summary: "What a consumer gave up on, with reason and attempts. An alert when it is not empty.",
	},
}

// LookupStream finds a stream by its name.
func LookupStream(name string) (Stream, bool) {
	n := slices.IndexFunc(Streams, func(s Stream) bool { return s.Name == name })
	if n < 0 {
		return Stream{}, false
	}
	return Streams[n], true
}

// ParkedSubject is where a service parks what it gave up on: "ofitec.<region>.parked.<service>.<rest>", where rest is the original subject
// without its "ofitec.<region>.". The region is the one in which the service runs.
func ParkedSubject(region Region, service, subject string) string {
	_, tail := cutTokens(subject, 2)
	if tail == "" {
		tail = "unknown"
	}
	return "ofitec." + string(region) + ".parked." + service + "." + tail
}

func cutTokens(subject string, count int) (head, tail string) {
	for n := range len(subject) {
		if subject[n] == '.' {
			if count--; count == 0 {
				return subject[:n], subject[n+1:]
			}
		}
	}
	return subject, ""
}

// Durable is a consumer that is made beforehand and that a service binds to.
type Durable struct {
	Name    string
	Stream  string
	Service string
	Region  Region   // empty: one durable that the instances of all regions share
	Filters []string // subjects, of all regions
	New     bool     // begins with what comes, not with what is there
}

// Durables lists the durables of the services that run in a region, those shared by all regions included.
//
// A durable's name is "<service>-<region>". On JOBS it is "<service>": a work queue allows one consumer a subject, and whichever instance leads takes the next command.
func Durables(region Region) []Durable {
	var durables []Durable
	for _, place := range Places {
		if !slices.Contains(place.Regions, region) {
			continue
		}
		for _, stream := range Streams {
			durable := Durable{Name: place.Service + "-" + string(region), Stream: stream.Name, Service: place.Service, Region: region}
			if stream.Retention == RetainWorkQueue {
				durable.Name, durable.Region = place.Service, ""
			}
			durable.New = stream.Name == StreamHealth
			for _, definition := range ConsumedBy(place.Service) {
				if definition.Stream == stream.Name {
					durable.Filters = append(durable.Filters, Filter("", definition.Type))
				}
			}
			if len(durable.Filters) > 0 {
				durables = append(durables, durable)
			}
		}
	}
	return durables
}

// DurableOf is the durable through which a service in a region reads a stream.
func DurableOf(service string, region Region, stream string) (Durable, bool) {
	for _, durable := range Durables(region) {
		if durable.Service == service && durable.Stream == stream {
			return durable, true
		}
	}
	return Durable{}, false
}

// AllDurables lists the durables of all regions, each once.
func AllDurables() []Durable {
	var all []Durable
	for _, region := range Regions {
		for _, durable := range Durables(region) {
			if !slices.ContainsFunc(all, func(d Durable) bool { return d.Name == durable.Name && d.Stream == durable.Stream }) {
				all = append(all, durable)
			}
		}
	}
	return all
}
