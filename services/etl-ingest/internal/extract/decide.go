package extract

import (
	"fmt"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Policy is how a dataset is read.
type Policy struct {
	Lookback         time.Duration // at least as long as the longest transaction
	FailoverLookback time.Duration // added at the first walk of an epoch: the other side's clock, and what it had not received
	Limit            int           // rows a page
	Heartbeat        time.Duration // how old the last record must be before one says that nothing is new
}

// gridParts is into how many parts the look-back's beginning is rounded down: walks that begin at the same place find the same pages, and need not keep them.
const gridParts = 8

// Walk is one reading of a dataset, under way.
type Walk struct {
	Epoch  events.Epoch
	At     Place     // where the next page is asked for
	Clock  time.Time // the source's, at the first page
	Pages  int
	Stored int // pages that were kept
}

// Page is what came.
type Page struct {
	At          Place // where it was asked for
	Rows, Bytes int64
	SHA256      string
	Clock       time.Time // the source's, before the rows were read
	First, Last Place     // of its rows, in the order of places; zero when there are none
	Misplaced   int64     // rows of it whose key or write_date cannot be read
	Columns     []string  // as far as they are known
	Unsorted    bool      // its rows do not come in that order
	More        *bool     // what the server says; nil when it says nothing
}

// Action is what is to be done about a page. The actions of one decision are done in order.
type Action interface{ action() }

// Store keeps the page, records it, announces it, and moves the cursor when To is set.
type Store struct {
	From, To *events.Cursor
}

// Skip drops the page: it was kept before.
type Skip struct{}

// Record writes down that a walk found nothing new, and how fresh the source was.
type Record struct{ Clock time.Time }

// Ask asks for the next page.
type Ask struct{ At Place }

// Done ends the walk.
type Done struct{}

// Refuse ends the walk; nothing of the page is kept.
type Refuse struct{ Why *PullError }

func (Store) action()  {}
func (Skip) action()   {}
func (Record) action() {}
func (Ask) action()    {}
func (Done) action()   {}
func (Refuse) action() {}

// Begin says where a walk begins. It refuses to read behind a later epoch's back: the region that asks is not the active one any more.
func Begin(s State, policy Policy, epoch events.Epoch) (Walk, error) {
	if s.Epoch > epoch {
		return Walk{}, &PullError{Code: CodeFenced, Reason: fmt.Sprintf("epoch %d has read already, this is epoch %d", s.Epoch, epoch)}
	}
	w := Walk{Epoch: epoch}
	if s.Cursor == nil {
		return w, nil
	}
	back := policy.Lookback
	if s.Epoch != epoch {
		back += policy.FailoverLookback
	}
	w.At.Since = s.Cursor.WriteDate.Add(-back).UTC()
	if grid := policy.Lookback / gridParts; grid > 0 {
		w.At.Since = w.At.Since.Truncate(grid)
	}
	return w, nil
}

// Decide says what becomes of a page and how the walk goes on.
func Decide(s State, w Walk, p Page, policy Policy) (Walk, []Action) {
	if Ends(w.At, p, policy.Limit) {
		p.Rows = 0
	}
	if f := wrong(w.At, p, policy.Limit); f != nil {
		return w, []Action{Refuse{f}}
	}
	if w.Pages == 0 {
		w.Clock = p.Clock
	}
	w.Pages++
	var actions []Action
	switch {
	case p.Rows == 0:
	case s.knows(p):
		actions = append(actions, Skip{})
	default:
		w.Stored++
		actions = append(actions, Store{From: w.At.Cursor(), To: s.moved(w, p)})
	}
	if GoesOn(p, policy.Limit) {
		w.At = p.Last
		return w, append(actions, Ask{w.At})
	}
	if w.Stored == 0 && p.Clock.Sub(s.Clock) >= policy.Heartbeat {
		actions = append(actions, Record{Clock: p.Clock})
	}
	return w, append(actions, Done{})
}

// GoesOn says whether there is more behind a page. A server that says nothing may have a smaller limit of its own than the one that it was asked for, so it is asked
// until it has no more; one that sends more than was asked for knows no limit, and that was all.
func GoesOn(p Page, limit int) bool {
	if p.Rows == 0 {
		return false
	}
	if p.More != nil {
		return *p.More
	}
	return p.Rows <= int64(limit)
}

// Ends says that a page is the end of a walk in disguise: a server that ignores after_id, or since too, gives rows again that end with the last one, and nothing behind it.
func Ends(at Place, p Page, limit int) bool {
	return p.Rows > 0 && p.Rows < int64(limit) && (p.More == nil || !*p.More) && at.HasID && p.Last == at
}

// Follows is what makes a page that was asked for at a place useless, or nil: it would be taken for progress that it is not.
func Follows(at Place, p Page, limit int) error {
	if f := wrong(at, p, limit); f != nil {
		return f
	}
	return nil
}

func wrong(at Place, p Page, limit int) *PullError {
	whole := p.Rows != int64(limit)
	if p.More != nil {
		whole = !*p.More
	}
	contract := func(format string, args ...any) *PullError {
		return &PullError{Code: CodeContract, Status: 200, Reason: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.Rows == 0:
		return nil
	case p.Unsorted && !whole:
		return contract("the rows are not in the order of write_date and id, and there is more behind them: some would be lost")
	case p.Last.Compare(at) <= 0:
		return contract("asked for rows behind %s, the page ends at %s: the server ignores since, after_id or limit", at, p.Last)
	}
	return nil
}

// moved is the cursor after a page; nil when it stays. It goes to the last row, but not beyond the source's clock at the walk's beginning, and never back.
func (s State) moved(w Walk, p Page) *events.Cursor {
	clock := w.Clock
	if p.Clock.Before(clock) {
		clock = p.Clock
	}
	to := p.Last
	if to.Since.After(clock) {
		to = Place{Since: clock, HasID: true} // everything before the clock's microsecond was read, and the look-back begins before it
	}
	if to.Since.IsZero() || s.Cursor != nil && to.Compare(PlaceOf(*s.Cursor)) <= 0 {
		return nil
	}
	return to.Cursor()
}
