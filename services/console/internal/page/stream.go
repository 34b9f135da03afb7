package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/services/console/internal/board"
)

const (
	maxStreams   = 24
	heartbeat    = 10 * time.Second
	writeWithin  = 10 * time.Second
	retryAfterMS = 2000
)

// Stream holds the newest view and tells browsers what of it has changed. A slow browser gets fewer, newer states, never a queue.
type Stream struct {
	mu       sync.Mutex
	sections []section
	number   uint64
	changed  chan struct{} // closed at the next change, and then replaced
	closed   chan struct{} // closed when the service stops
	open     int
}

type section struct {
	name   string
	data   []byte
	number uint64 // of the change that made it
}

// NewStream makes one without a view.
func NewStream() *Stream {
	return &Stream{changed: make(chan struct{}), closed: make(chan struct{})}
}

// Publish replaces the view; sections that are as before are not sent again.
func (s *Stream) Publish(view board.View) error {
	fresh, err := sectionsOf(view)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for n := range fresh {
		if s.sections != nil && bytes.Equal(s.sections[n].data, fresh[n].data) {
			fresh[n].number = s.sections[n].number
			continue
		}
		if !changed {
			changed = true
			s.number++
		}
		fresh[n].number = s.number
	}
	s.sections = fresh
	if changed {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	return nil
}

// sectionsOf names each field of the view as its JSON does.
func sectionsOf(view board.View) ([]section, error) {
	value := reflect.ValueOf(view)
	list := make([]section, value.NumField())
	for n := range list {
		data, err := json.Marshal(value.Field(n).Interface())
		if err != nil {
			return nil, fmt.Errorf("publish view: %w", err)
		}
		list[n] = section{name: value.Type().Field(n).Tag.Get("json"), data: data}
	}
	return list, nil
}

// Close ends all streams, so that the HTTP server can stop.
func (s *Stream) Close() { close(s.closed) }

// Open counts the browsers that listen.
func (s *Stream) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// since gives the sections that are newer than a number, and a channel that closes at the next change.
func (s *Stream) since(number uint64) ([]section, uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var news []section
	for _, section := range s.sections {
		if section.number > number {
			news = append(news, section)
		}
	}
	return news, s.number, s.changed
}

func (s *Stream) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= maxStreams {
		return false
	}
	s.open++
	return true
}

func (s *Stream) dismiss() {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
}

// serve sends a greeting, the whole view, and then what changes, until the browser goes, the session ends or the service stops.
func (s *Stream) serve(w http.ResponseWriter, r *http.Request, now func() time.Time, greeting any, stillWelcome func() bool) {
	if !s.admit() {
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d pages listen already, that is all there may be; close one", maxStreams), http.StatusServiceUnavailable)
		return
	}
	defer s.dismiss()
	header := w.Header()
	header.Set("Content-Type", "text/event-stream; charset=utf-8")
	header.Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin)) // without one a write just waits longer
		_, err := w.Write([]byte(text))
		return err == nil && control.Flush() == nil
	}
	hello, err := json.Marshal(greeting)
	if err != nil || !send(fmt.Sprintf("retry: %d\nevent: hello\ndata: %s\n\n", retryAfterMS, hello)) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	var seen uint64
	for {
		news, number, changed := s.since(seen)
		seen = number
		if len(news) > 0 && !send(asEvents(news)) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.closed:
			return
		case <-changed:
		case <-beat.C:
			if !stillWelcome() {
				send("event: leave\ndata: {}\n\n")
				return
			}
			if !send(fmt.Sprintf(": still here\nevent: clock\ndata: {\"now\":%q}\n\n", now().UTC().Format(time.RFC3339Nano))) {
				return
			}
		}
	}
}

// asEvents writes one event a section; JSON has no line breaks of its own.
func asEvents(news []section) string {
	var text strings.Builder
	for _, section := range news {
		fmt.Fprintf(&text, "event: %s\ndata: %s\n\n", section.name, section.data)
	}
	return text.String()
}
