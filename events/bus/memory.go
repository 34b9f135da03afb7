package bus

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/events"
)

// Memory is a bus within one process, for tests and for trying things out: the streams of events.Streams without their limits of age and size.
// It keeps the promises that bustest checks and nothing beyond the process's end. It may be used from many goroutines.
type Memory struct {
	mu       sync.Mutex
	streams  map[string]*memoryStream
	changed  chan struct{} // closed and replaced whenever something may be ready
	durables map[string]*memoryDurable
}

type memoryStream struct {
	messages []message // sequence n stands at n-1; an empty subject is a message that a work queue let go
	ids      map[string]uint64
}

type memoryDurable struct {
	next    uint64 // first sequence that was never delivered
	waiting map[uint64]*memoryDelivery
}

type memoryDelivery struct {
	delivered int
	running   bool
	due       time.Time
}

// NewMemory makes an empty bus with all streams.
func NewMemory() *Memory {
	b := &Memory{streams: map[string]*memoryStream{}, durables: map[string]*memoryDurable{}, changed: make(chan struct{})}
	for _, stream := range events.Streams {
		b.streams[stream.Name] = &memoryStream{ids: map[string]uint64{}}
	}
	return b
}

// Publish stores an event.
func (b *Memory) Publish(ctx context.Context, event events.Event) (Receipt, error) {
	if _, known := events.Lookup(event.Type); !known {
		return Receipt{}, fmt.Errorf("publish event: %w: %q", events.ErrUnknownType, string(event.Type))
	}
	msg, err := encode(event, event.TraceParent)
	if err != nil {
		return Receipt{}, err
	}
	return b.Store(ctx, msg.Subject, msg.Header, msg.Data)
}

// Store stores any message in the stream that takes its subject, as a stranger with a NATS client could.
func (b *Memory) Store(ctx context.Context, subject string, header map[string][]string, data []byte) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, stream := range events.Streams {
		if !slices.ContainsFunc(stream.Subjects, func(filter string) bool { return matches(filter, subject) }) {
			continue
		}
		s := b.streams[stream.Name]
		id := ""
		if values := header[HeaderMsgID]; len(values) > 0 {
			id = values[0]
		}
		if sequence, seen := s.ids[id]; seen && id != "" {
			return Receipt{Stream: stream.Name, Sequence: sequence, Duplicate: true}, nil
		}
		sequence := uint64(len(s.messages) + 1)
		s.messages = append(s.messages, message{
			subject: subject, data: slices.Clone(data), header: maps.Clone(header), stream: stream.Name, sequence: sequence, stored: time.Now(),
		})
		s.ids[id] = sequence
		b.notify()
		return Receipt{Stream: stream.Name, Sequence: sequence}, nil
	}
	return Receipt{}, fmt.Errorf("publish to %s: no stream takes it", subject)
}

// notify wakes all who wait; the lock is held.
func (b *Memory) notify() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// matches is NATS's rule for filters and subjects.
func matches(filter, subject string) bool {
	for {
		f, restFilter, moreFilter := strings.Cut(filter, ".")
		s, restSubject, moreSubject := strings.Cut(subject, ".")
		if f == ">" {
			return true
		}
		if f != "*" && f != s || moreFilter != moreSubject {
			return false
		}
		if !moreFilter {
			return true
		}
		filter, subject = restFilter, restSubject
	}
}

// Consume is JetStream's; the durable is made when it is not there.
func (b *Memory) Consume(ctx context.Context, config Consumer, handler Handler) error {
	c, err := config.complete()
	if err != nil {
		return err
	}
	if b.streams[c.Stream] == nil {
		return fmt.Errorf("bind %s of %s: %w", c.Durable, c.Stream, ErrNoDurable)
	}
	durable := b.bind(c)
	c.OnState(nil)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(c.Grace, cancel) })()
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, c.Workers) // never closed; a token for each running handler
	for {
		slots <- struct{}{}
		m, found := b.next(ctx, c, durable)
		if !found {
			return nil
		}
		running.Go(func() {
			defer func() { <-slots }()
			b.settle(work, c, durable, m, c.judge(work, m, handler))
		})
	}
}

func (b *Memory) bind(c Consumer) *memoryDurable {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := c.Stream + "/" + c.Durable
	if b.durables[key] == nil {
		d := &memoryDurable{next: 1, waiting: map[uint64]*memoryDelivery{}}
		if c.New {
			d.next = uint64(len(b.streams[c.Stream].messages) + 1)
		}
		b.durables[key] = d
	}
	return b.durables[key]
}

// next waits for a message that is due.
func (b *Memory) next(ctx context.Context, c Consumer, d *memoryDurable) (message, bool) {
	for {
		b.mu.Lock()
		m, delay, found := b.pick(c, d)
		changed := b.changed
		b.mu.Unlock()
		if found {
			return m, true
		}
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return message{}, false
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pick takes a due retry, else the next new message; without either it says how long to wait. The lock is held.
func (b *Memory) pick(c Consumer, d *memoryDurable) (m message, delay time.Duration, found bool) {
	s, now := b.streams[c.Stream], time.Now()
	delay = time.Hour
	for _, sequence := range slices.Sorted(maps.Keys(d.waiting)) {
		w := d.waiting[sequence]
		if w.running {
			continue
		}
		if wait := w.due.Sub(now); wait > 0 {
			delay = min(delay, wait)
			continue
		}
		return b.deliver(s, d, sequence), 0, true
	}
	for d.next <= uint64(len(s.messages)) {
		sequence := d.next
		d.next++
		subject := s.messages[sequence-1].subject
		if slices.ContainsFunc(c.Filters, func(filter string) bool { return matches(filter, subject) }) {
			d.waiting[sequence] = &memoryDelivery{}
			return b.deliver(s, d, sequence), 0, true
		}
	}
	return message{}, delay, false
}

func (b *Memory) deliver(s *memoryStream, d *memoryDurable, sequence uint64) message {
	w := d.waiting[sequence]
	w.running = true
	w.delivered++
	m := s.messages[sequence-1]
	m.delivered = w.delivered
	return m
}

// settle does what the verdict says.
func (b *Memory) settle(ctx context.Context, c Consumer, d *memoryDurable, m message, v verdict) {
	if v.outcome == parked {
		if _, err := b.Store(context.WithoutCancel(ctx), events.ParkedSubject(c.Region, c.Service, m.subject), c.parkedHeader(m, v.reason), m.data); err != nil {
			v = verdict{outcome: retried, delay: parkRetry}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.outcome == retried {
		w := d.waiting[m.sequence]
		w.running, w.due = false, time.Now().Add(v.delay)
	} else {
		delete(d.waiting, m.sequence)
		if stream, _ := events.LookupStream(m.stream); stream.Retention == events.RetainWorkQueue {
			b.streams[m.stream].messages[m.sequence-1].subject = ""
		}
	}
	b.notify()
}

// Replay is JetStream's.
func (b *Memory) Replay(ctx context.Context, r Range, visit func(Replayed) error) error {
	if err := r.check(); err != nil {
		return err
	}
	s := b.streams[r.Stream]
	filters := r.filters()
	b.mu.Lock()
	last := uint64(len(s.messages))
	b.mu.Unlock()
	for at := max(r.FromSequence, 1); ; {
		b.mu.Lock()
		changed := b.changed
		var batch []message
		if end := uint64(len(s.messages)); at <= end {
			batch = slices.Clone(s.messages[at-1 : end])
		}
		b.mu.Unlock()
		for _, m := range batch {
			at = m.sequence + 1
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if r.over(m.sequence, m.stored) || !r.Follow && m.sequence > last {
				return nil
			}
			if m.subject == "" || m.stored.Before(r.From) || len(filters) > 0 && !slices.ContainsFunc(filters, func(f string) bool { return matches(f, m.subject) }) {
				continue
			}
			replayed := Replayed{Raw: m.data, Header: m.header, Subject: m.subject, Stream: r.Stream, Sequence: m.sequence, Stored: m.stored}
			replayed.Event, replayed.Err = events.Decode(m.data)
			if err := visit(replayed); err != nil {
				return err
			}
		}
		if !r.Follow && at > last {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
