package manifest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

// shelf keeps files in memory.
type shelf struct {
	mu    sync.Mutex
	files map[string][]byte
	reads int
}

func (s *shelf) Add(_ context.Context, name string, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.files[name]; taken {
		return ErrExists
	}
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	s.files[name] = content
	return nil
}

func (s *shelf) Read(_ context.Context, name string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	content, found := s.files[name]
	return content, found, nil
}

func record(n int) Record {
	return Record{
		Kind: KindRows, Dataset: "invoice", Region: "a", Format: "csv", SHA256: Origin, Rows: int64(n),
		AsOf: events.AsOf{Epoch: 1, SourceClock: time.Date(2026, 11, 24, 12, 0, n, 0, time.UTC)},
	}
}

func nothing(*Record) error { return nil }

func TestManyWritersMakeOneChain(t *testing.T) {
	s := &shelf{}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			chain := NewChain(s)
			for added := 0; added < 50; {
				if _, err := chain.Head(t.Context()); err != nil {
					t.Error(err)
					return
				}
				_, err := chain.Append(t.Context(), record(added), nothing)
				switch {
				case err == nil:
					added++
				case !errors.Is(err, ErrExists):
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if n, err := NewChain(s).Verify(t.Context(), nil); n != 200 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	s.reads = 0
	if head, err := NewChain(s).Head(t.Context()); head != 200 || err != nil || s.reads > 20 {
		t.Errorf("the end is %d, %v, found with %d reads", head, err, s.reads)
	}
}

func TestEveryChangeOfARecordIsSeen(t *testing.T) {
	s := &shelf{}
	chain := NewChain(s)
	for n := range 5 {
		if _, err := chain.Append(t.Context(), record(n), nothing); err != nil {
			t.Fatal(err)
		}
	}
	name := Name(3)
	line := string(s.files[name])
	for what, changed := range map[string]string{
		"a number":         strings.Replace(line, `"rows":2`, `"rows":3`, 1),
		"the previous":     strings.Replace(line, `"previous":"`, `"previous":"0`, 1),
		"a line cut short": line[:len(line)-2],
		"nothing":          "",
		"another record":   string(s.files[Name(4)]),
	} {
		s.files[name] = []byte(changed)
		if n, err := NewChain(s).Verify(t.Context(), nil); !errors.Is(err, ErrBroken) || n != 2 {
			t.Errorf("%s: %d records, %v", what, n, err)
		}
	}
	// a whole line that fits by itself, but not behind its neighbour
	r, _, err := Open([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	r.Rows = 99
	resealed, _, err := Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	s.files[name] = resealed
	if n, err := NewChain(s).Verify(t.Context(), nil); !errors.Is(err, ErrBroken) || n != 3 {
		t.Errorf("resealed: %d records, %v", n, err)
	}
}

func TestFieldsOfALaterVersionAreWithinTheHash(t *testing.T) {
	line, _, err := Seal(record(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open([]byte(strings.Replace(string(line), `{"version"`, `{"more":1,"version"`, 1))); !errors.Is(err, ErrBroken) {
		t.Errorf("a field was added: %v", err)
	}
}

func TestARecordThatIsNotFitIsNotAdded(t *testing.T) {
	s := &shelf{}
	unfit := errors.New("unfit")
	if _, err := NewChain(s).Append(t.Context(), record(1), func(*Record) error { return unfit }); !errors.Is(err, unfit) || len(s.files) != 0 {
		t.Errorf("%v, %d files", err, len(s.files))
	}
}

func ExampleName() {
	fmt.Println(Name(1), Name(23456))
	// Output: _manifest/000000/000000000001.json _manifest/000002/000000023456.json
}
