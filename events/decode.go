package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// MalformedError says why bytes are not an event.
type MalformedError struct {
	Offset int // where it was noticed, in bytes
	Reason string
}

// Error implements error.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("decode event: %s at byte %d", e.Reason, e.Offset)
}

// Decode reads the structured JSON of an event and checks the envelope. The data is found but not yet read: whoever only filters and counts, as replays do,
// does not pay for it. Data of an unknown type is no error here, so that an old program can replay what a new one has said; Payload says so when it is asked.
//
// The event keeps data, which must not be changed afterwards.
func Decode(data []byte) (Event, error) {
	if !utf8.Valid(data) {
		return Event{}, &MalformedError{Reason: "text is not UTF-8"}
	}
	var e Event
	s := scanner{data: data, copied: string(data)}
	if err := s.envelope(&e); err != nil {
		return Event{}, err
	}
	if err := e.check(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// scanner walks the top level of one JSON object without looking into its values.
type scanner struct {
	data   []byte
	copied string // the same, so that all attributes are parts of one string
	at     int
}

var errEnd = errors.New("unexpected end")

func (s *scanner) fail(reason string) error { return &MalformedError{Offset: s.at, Reason: reason} }

func (s *scanner) blank() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take passes one byte behind blanks.
func (s *scanner) take(b byte) bool {
	s.blank()
	if s.at < len(s.data) && s.data[s.at] == b {
		s.at++
		return true
	}
	return false
}

func (s *scanner) envelope(e *Event) error {
	if !s.take('{') {
		return s.fail("no JSON object")
	}
	var seen attributes
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return s.fail("no comma between attributes")
		}
		s.blank()
		name, err := s.text()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return s.fail("no colon behind an attribute's name")
		}
		s.blank()
		if err := s.attribute(e, &seen, name); err != nil {
			return err
		}
	}
	s.blank()
	if s.at != len(s.data) {
		return s.fail("more text behind the event")
	}
	if !seen.version {
		return s.fail("specversion is missing")
	}
	if !seen.contentType {
		return s.fail("datacontenttype is missing")
	}
	return nil
}

// attributes remembers what was seen, since of two values of one name readers would take different ones.
type attributes struct {
	version, contentType bool
	epoch                bool
}

func (s *scanner) attribute(e *Event, seen *attributes, name string) error {
	var target *string
	switch name {
	case "data":
		return s.payload(e)
	case "data_base64":
		return s.fail("data_base64 instead of data")
	case "specversion", "datacontenttype", "time", "epoch":
		return s.special(e, seen, name)
	case "id":
		target = &e.ID
	case "source":
		target = &e.Source
	case "type":
		target = (*string)(&e.Type)
	case "subject":
		target = &e.Subject
	case "dataschema":
		target = &e.DataSchema
	case "region":
		target = (*string)(&e.Region)
	case "traceparent":
		target = &e.TraceParent
	case "correlationid":
		target = &e.CorrelationID
	case "causationid":
		target = &e.CausationID
	default: // an extension of a later version
		_, err := s.value()
		return err
	}
	if *target != "" {
		return s.fail(name + " stands twice")
	}
	text, err := s.text()
	*target = text
	return err
}

func (s *scanner) payload(e *Event) error {
	if e.Data != nil {
		return s.fail("data stands twice")
	}
	value, err := s.value()
	e.Data = value
	return err
}

func (s *scanner) special(e *Event, seen *attributes, name string) error {
	text, err := s.text()
	if err != nil {
		return err
	}
	twice, wrong := false, false
	switch name {
	case "specversion":
		twice, wrong, seen.version = seen.version, text != "1.0", true
	case "datacontenttype":
		twice, wrong, seen.contentType = seen.contentType, text != jsonType, true
	case "epoch":
		twice, seen.epoch = seen.epoch, true
		e.Epoch, err = ParseEpoch(text)
		wrong = err != nil
	case "time":
		twice = !e.Time.IsZero()
		e.Time, err = time.Parse(time.RFC3339Nano, text)
		e.Time, wrong = e.Time.UTC(), err != nil
	}
	if twice {
		return s.fail(name + " stands twice")
	}
	if wrong {
		return s.fail(fmt.Sprintf("%s is %s", name, quote(text)))
	}
	return nil
}

// text reads a string. One with escapes is left to encoding/json.
func (s *scanner) text() (string, error) {
	start := s.at
	raw, escaped, err := s.quoted()
	if err != nil {
		return "", err
	}
	if !escaped {
		return s.copied[start+1 : s.at-1], nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		s.at = start
		return "", s.fail("a string with a wrong escape")
	}
	return text, nil
}

// quoted passes a string and returns it with its quotes.
func (s *scanner) quoted() (raw []byte, escaped bool, err error) {
	if s.at >= len(s.data) || s.data[s.at] != '"' {
		return nil, false, s.fail("no string")
	}
	start := s.at
	for s.at++; s.at < len(s.data); s.at++ {
		switch b := s.data[s.at]; {
		case b == '"':
			s.at++
			return s.data[start:s.at], escaped, nil
		case b == '\\':
			escaped = true
			s.at++
		case b < ' ':
			return nil, false, s.fail("a control character in a string")
		}
	}
	s.at = len(s.data)
	return nil, false, s.fail(errEnd.Error())
}

// value passes any value and returns its bytes. Brackets are counted, not matched by kind: whoever reads the value finds out.
func (s *scanner) value() ([]byte, error) {
	start, depth := s.at, 0
	for s.at < len(s.data) {
		switch b := s.data[s.at]; b {
		case '"':
			end := bytes.IndexByte(s.data[s.at+1:], '"')
			if end > 0 && bytes.IndexByte(s.data[s.at+1:s.at+1+end], '\\') < 0 {
				s.at += end + 2
				continue
			}
			if _, _, err := s.quoted(); err != nil {
				return nil, err
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 {
				return s.ended(start)
			}
			if b != ',' {
				depth--
			}
		}
		s.at++
	}
	return nil, s.fail(errEnd.Error())
}

func (s *scanner) ended(start int) ([]byte, error) {
	value := bytes.TrimRight(s.data[start:s.at], " \t\r\n")
	if len(value) == 0 {
		return nil, s.fail("no value")
	}
	return value, nil
}
