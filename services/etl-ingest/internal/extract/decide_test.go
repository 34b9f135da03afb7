package extract

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/events"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew; a diff is to be reviewed")

// story is a dataset that is read by lines of a transcript.
type story struct {
	state    State
	walk     Walk
	policy   Policy
	sequence int64
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// at reads "11:59#3": a time of the day and an id.
func at(text string) Place {
	if text == "start" {
		return Place{}
	}
	day, id, has := strings.Cut(text, "#")
	p := Place{HasID: has}
	p.ID, _ = strconv.ParseInt(id, 10, 64)
	if day != "none" {
		clock, err := time.Parse("15:04:05", day)
		if err != nil {
			panic(err)
		}
		p.Since = noon.Truncate(24 * time.Hour).Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute + time.Duration(clock.Second())*time.Second)
	}
	return p
}

func short(p Place) string {
	return strings.TrimSuffix(strings.ReplaceAll(strings.ReplaceAll(p.String(), "2026-11-24T", ""), ".000000Z", ""), "#0")
}

// do takes one line and says what was decided.
func (s *story) do(line string) string {
	words := strings.Fields(line)
	switch words[0] {
	case "begin":
		epoch, _ := strconv.ParseUint(words[1], 10, 64)
		walk, err := Begin(s.state, s.policy, events.Epoch(epoch))
		if err != nil {
			return "refused: " + err.Error()
		}
		s.walk = walk
		return "ask for " + short(walk.At)
	case "page":
		return s.page(words[1:])
	}
	return "unknown word"
}

// page is "clock rows first last content [unsorted]".
func (s *story) page(words []string) string {
	p := Page{At: s.walk.At, Clock: at(words[0]).Since, SHA256: "-"}
	p.Rows, _ = strconv.ParseInt(words[1], 10, 64)
	if p.Rows > 0 {
		p.First, p.Last, p.SHA256 = at(words[2]), at(words[3]), words[4]
		p.Unsorted = len(words) > 5 && words[5] == "unsorted"
	}
	var actions []Action
	s.walk, actions = Decide(s.state, s.walk, p, s.policy)
	var said []string
	for _, action := range actions {
		switch a := action.(type) {
		case Store:
			s.sequence++
			s.state = s.state.Advance(Recorded{Sequence: s.sequence, At: p.At.String(), SHA256: p.SHA256, AsOf: events.AsOf{Epoch: s.walk.Epoch, SourceClock: p.Clock}, To: a.To})
			text := "store"
			if a.To != nil {
				text += ", cursor to " + short(PlaceOf(*a.To))
			}
			said = append(said, text)
		case Skip:
			said = append(said, "skip")
		case Record:
			s.sequence++
			s.state = s.state.Advance(Recorded{Sequence: s.sequence, AsOf: events.AsOf{Epoch: s.walk.Epoch, SourceClock: a.Clock}})
			said = append(said, "record that nothing is new")
		case Ask:
			said = append(said, "ask for "+short(a.At))
		case Done:
			said = append(said, "done")
		case Refuse:
			said = append(said, "refuse: "+a.Why.Error())
		}
	}
	return strings.Join(said, "; ")
}

func TestDatasetsAreReadAsTheTranscriptsTell(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := &story{policy: Policy{Lookback: time.Hour, FailoverLookback: 15 * time.Minute, Limit: 3, Heartbeat: 10 * time.Minute}}
			var got strings.Builder
			lines := bufio.NewScanner(strings.NewReader(string(content)))
			for lines.Scan() {
				line := lines.Text()
				if strings.HasPrefix(line, "  ") {
					continue
				}
				fmt.Fprintln(&got, line)
				if line != "" && !strings.HasPrefix(line, "#") {
					fmt.Fprintln(&got, "  "+s.do(line))
				}
			}
			if *rewrite {
				if err := os.WriteFile(name, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(content) {
				t.Errorf("got\n%s", got.String())
			}
		})
	}
}

func TestARecordThatComesTwiceChangesNothing(t *testing.T) {
	r := Recorded{Sequence: 4, At: "start", SHA256: "x", AsOf: events.AsOf{Epoch: 1, SourceClock: noon}, To: &events.Cursor{WriteDate: noon, ID: 7}}
	once := State{}.Advance(r)
	if twice := once.Advance(r); twice.Sequence != once.Sequence || len(twice.Seen) != 1 || *twice.Cursor != *once.Cursor {
		t.Errorf("once %+v, twice %+v", once, twice)
	}
	older := r
	older.Sequence, older.To = 3, &events.Cursor{WriteDate: noon.Add(-time.Hour)}
	if after := once.Advance(older); *after.Cursor != *once.Cursor {
		t.Errorf("an older record moved the cursor to %v", after.Cursor)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	s := State{}
	for n := range int64(1000) {
		s = s.Advance(Recorded{Sequence: n + 1, At: strconv.FormatInt(n, 10), SHA256: "x", AsOf: events.AsOf{Epoch: 1, SourceClock: noon}})
	}
	if len(s.Seen) != SeenPages || !s.Knows("999", "x") {
		t.Errorf("%d pages are remembered", len(s.Seen))
	}
}

func TestAServerThatAsksForTimeGetsIt(t *testing.T) {
	busy := &PullError{Code: CodeStatus, Status: 429, Again: true, RetryAfter: time.Hour}
	if _, again := Retry(busy, 1, 3); again {
		t.Error("asked again within the walk, though the server wants an hour")
	}
	if at := NextRun(noon, 15*time.Minute, 1, false, busy.RetryAfter); at.Before(noon.Add(time.Hour)) {
		t.Errorf("the next run is at %s", at)
	}
	if at := NextRun(noon, 15*time.Minute, 1, false, 0); !at.Equal(noon.Add(time.Minute)) {
		t.Errorf("after a failure the next run is at %s", at)
	}
	if at := NextRun(noon, 15*time.Minute, 9, false, 0); !at.Equal(noon.Add(15 * time.Minute)) {
		t.Errorf("after many failures the next run is at %s", at)
	}
}

func TestAfterACutItIsTriedWithinSecondsAndOneThatLastsWaitsAsAllElse(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for n, want := range []time.Duration{15 * time.Minute, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute} {
		if at := NextRun(noon, 15*time.Minute, n, true, 0); !at.Equal(noon.Add(want)) {
			t.Errorf("after %d cuts in a row it is tried in %s, want %s", n, at.Sub(noon), want)
		}
	}
	if at := NextRun(noon, time.Second, 1, true, 0); !at.Equal(noon.Add(time.Second)) {
		t.Errorf("a cut makes it later than the interval: %s", at.Sub(noon))
	}
	if at := NextRun(noon, 15*time.Minute, 1, true, time.Hour); at.Before(noon.Add(time.Hour)) {
		t.Errorf("a server that asked for an hour is asked in %s", at.Sub(noon))
	}
	for code, want := range map[string]bool{CodeRefused: true, CodeTimeout: true, CodeBus: true, CodeStorage: true, CodeTruncated: true, CodeStatus: false, CodeSchema: false, CodeContract: false, CodeFenced: false} {
		if Cut(&PullError{Code: code}) != want {
			t.Errorf("%s is a cut: %v", code, !want)
		}
	}
	for status, want := range map[int]bool{500: false, 502: true, 503: true, 504: true, 429: false, 401: false} {
		if Cut(&PullError{Code: CodeStatus, Status: status}) != want {
			t.Errorf("status %d is a cut: %v", status, !want)
		}
	}
}
