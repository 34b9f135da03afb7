package extract

import (
	"slices"
	"time"

	"github.com/ofitec/ofitec/events"
)

// State is what is remembered of a dataset between walks. It is bounded, whatever the dataset's size: of the rows in the look-back nothing is kept, only which
// pages were seen; rows that come twice are sorted out by whoever loads them.
type State struct {
	Cursor   *events.Cursor `json:"cursor"`           // everything up to here was read; nil before the first row
	Epoch    events.Epoch   `json:"epoch"`            // under which it was last moved
	Clock    time.Time      `json:"clock"`            // the source's, at the last walk that was recorded
	Sequence int64          `json:"sequence"`         // of the last record of the manifest that was announced for the dataset
	Schema   string         `json:"schema,omitempty"` // Fingerprint of the last page's columns
	Seen     []Seen         `json:"seen"`             // the last pages, oldest first
}

// Seen says what stood at a place when it was last read.
type Seen struct {
	At     string `json:"at"` // Place.String
	SHA256 string `json:"sha256"`
}

// SeenPages is how many pages a State remembers. A look-back of more pages than that is announced again at each walk.
const SeenPages = 32

// Recorded is what a record of the manifest means for a dataset's state.
type Recorded struct {
	Sequence int64
	At       string // where the page was asked for; empty for a walk that found nothing
	SHA256   string
	Schema   string // empty when nothing is known of it
	AsOf     events.AsOf
	To       *events.Cursor
}

// Advance takes a record into account that is durable and announced. A record that was taken into account before changes nothing, so
// that whoever finds a record unannounced may announce it and advance.
func (s State) Advance(r Recorded) State {
	if r.Sequence <= s.Sequence {
		return s
	}
	s.Sequence, s.Clock, s.Epoch = r.Sequence, r.AsOf.SourceClock, max(s.Epoch, r.AsOf.Epoch)
	if r.To != nil && (s.Cursor == nil || PlaceOf(*r.To).Compare(PlaceOf(*s.Cursor)) > 0) {
		s.Cursor = r.To
	}
	if r.Schema != "" {
		s.Schema = r.Schema
	}
	if r.At == "" {
		return s
	}
	return s.remember(Seen{At: r.At, SHA256: r.SHA256})
}

func (s State) remember(page Seen) State {
	s.Seen = slices.DeleteFunc(slices.Clone(s.Seen), func(seen Seen) bool { return seen.At == page.At })
	s.Seen = append(s.Seen, page)
	s.Seen = s.Seen[max(len(s.Seen)-SeenPages, 0):]
	return s
}

// Foresee remembers pages whose rows are all recorded, though in other pages.
func (s State) Foresee(pages []Seen) State {
	for _, page := range pages {
		s = s.remember(page)
	}
	return s
}

// KnowsAll says whether all pages are known.
func (s State) KnowsAll(pages []Seen) bool {
	return !slices.ContainsFunc(pages, func(page Seen) bool { return !s.Knows(page.At, page.SHA256) })
}

// knows says whether the page stands at its place as it did when it was last read. A page that was changed and changed back is not known: it is the last content that counts.
func (s State) knows(p Page) bool { return s.Knows(p.At.String(), p.SHA256) }

// Knows says whether this content was the last that was recorded for a place.
func (s State) Knows(at, sha256 string) bool {
	return slices.Contains(s.Seen, Seen{At: at, SHA256: sha256})
}
