package failover

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Record is everything that one decision of a leader was given, but for the observations, which stand beside it: enough to take it once more, bit for bit. It goes out with the
// decision's events. Times of the boot clock are nanoseconds since the leader's machine started.
type Record struct {
	Settings Settings `json:"settings"`
	Term     int64    `json:"term"`
	Now      Instant  `json:"now"`
	Read     Read     `json:"read"`

	ReadAt       time.Duration                   `json:"read_at"`
	ReadingSince time.Duration                   `json:"reading_since"`
	MandateSince Instant                         `json:"mandate_since"`
	PhaseSince   time.Duration                   `json:"phase_since"`
	Reported     map[events.Region]time.Duration `json:"reported_since"`
	Restarting   map[events.Region]time.Duration `json:"restarting_since,omitempty"`
	Down         map[events.Region]time.Time     `json:"down_since,omitempty"`
	Red          map[events.Region]time.Duration `json:"red_since,omitempty"`
	Mirror       int                             `json:"mirror,omitempty"` // how the standby follows
	MirrorSince  time.Duration                   `json:"mirror_since,omitempty"`
	OpenedEpoch  events.Epoch                    `json:"opened_epoch,omitempty"`
	OpenedAt     time.Time                       `json:"opened_at,omitzero"`
	Asked        string                          `json:"asked,omitempty"`
	AskedSince   time.Duration                   `json:"asked_since,omitempty"`
	Named        Named                           `json:"named"`
	Trouble      string                          `json:"trouble,omitempty"`
	TroubleSince time.Duration                   `json:"trouble_since,omitempty"`
}

// record is what the decision that comes next is given. Requests that are answered already play no part in it.
func (s State) record(now Instant) Record {
	read := *s.view
	read.Requests = nil
	for _, r := range s.view.Requests {
		if r.Request.Answer == nil {
			read.Requests = append(read.Requests, r)
		}
	}
	r := Record{
		Settings: s.settings, Term: s.term, Now: now, Read: read,
		ReadAt: s.readAt, ReadingSince: s.readingSince, MandateSince: s.mandateSince, PhaseSince: s.phaseSince, Reported: map[events.Region]time.Duration{},
		Restarting: s.restarting, Down: s.down, Red: s.red, Mirror: int(s.mirror.kind), MirrorSince: s.mirror.since, OpenedEpoch: s.opened.epoch, OpenedAt: s.opened.at, Asked: s.asked.id, AskedSince: s.asked.since,
		Named: s.named, Trouble: s.trouble.rule, TroubleSince: s.trouble.since,
	}
	for region, report := range s.reports {
		r.Reported[region] = report.since
	}
	return r
}

// restore is the state that a record was made of, as far as the decision can see it.
func (r Record) restore(observations []events.Evidence) (State, error) {
	s := New(r.Settings)
	read := r.Read
	s.term, s.view, s.named = r.Term, &read, r.Named
	s.readAt, s.readingSince, s.mandateSince, s.phaseSince = r.ReadAt, r.ReadingSince, r.MandateSince, r.PhaseSince
	s.restarting, s.down, s.red = r.Restarting, r.Down, r.Red
	s.mirror = mirror{footing(r.Mirror), r.MirrorSince}
	s.opened, s.asked, s.trouble = opening{r.OpenedEpoch, r.OpenedAt}, asking{r.Asked, r.AskedSince}, trouble{r.Trouble, r.TroubleSince}
	for region, since := range r.Reported {
		s.reports = with(s.reports, region, reporting{revision: read.Reports[region].Revision, since: since})
	}
	for n, e := range observations {
		heardAt := r.Now.Boot - time.Duration(math.Round(e.AgeSeconds*float64(time.Second)))
		switch {
		case e.Health != nil && s.place(sight{e.Observer, e.Health.Target}) >= 0:
			s.heard = s.heard.put(s, s.place(sight{e.Observer, e.Health.Target}), &hearing{report: *e.Health, at: heardAt})
		case e.Replication != nil && s.place(sight{e.Observer, e.Replication.Target}) >= 0:
			s.positioned = s.positioned.put(s, s.place(sight{e.Observer, e.Replication.Target}), &position{report: *e.Replication, at: heardAt})
		default:
			return s, fmt.Errorf("restore decision: observation %d is of no observer and region that the settings name", n)
		}
	}
	if read.Failover == nil || read.Failover.Active == "" {
		return s, fmt.Errorf("restore decision: the record has no state")
	}
	return s, nil
}

// ReadRecord reads the record of an event's basis.
func ReadRecord(b events.Basis) (Record, error) {
	var r Record
	if err := json.Unmarshal(b.Record, &r); err != nil {
		return r, fmt.Errorf("read the record of a decision: %w", err)
	}
	return r, nil
}

// DecideAgain takes a recorded decision once more, and gives what it comes to and how things looked.
func DecideAgain(b events.Basis) ([]Action, Status, error) {
	record, err := ReadRecord(b)
	if err != nil {
		return nil, Status{}, err
	}
	s, err := record.restore(b.Observations)
	if err != nil {
		return nil, Status{}, err
	}
	_, actions := s.decide(record.Now)
	return actions, s.Status(record.Now), nil
}

// decide is what a leader does about what it has read; its events carry what they were decided on.
func (s State) decide(now Instant) (State, []Action) {
	next, actions := s.lead(now)
	for n, action := range actions {
		swap, is := action.(Swap)
		if !is || len(swap.Announce) == 0 {
			continue
		}
		record, err := json.Marshal(s.record(now))
		if err != nil { // a number that JSON does not have; the event is made without
			continue
		}
		basis := &events.Basis{Observations: s.evidence(now), Record: record}
		announce := make([]Announcement, len(swap.Announce))
		for i, a := range swap.Announce {
			announce[i] = Announcement{Payload: events.FoundedOn(a.Payload, basis), Cause: a.Cause}
		}
		swap.Announce = announce
		actions[n] = swap
	}
	return next, actions
}
