package notice_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
)

var errAway = errors.New("away")

// scene is a notice on a clock that the test moves.
type scene struct {
	*notice.Notice
	at  time.Time
	out bytes.Buffer
}

func begin() *scene {
	s := &scene{at: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}
	log := slog.New(slog.NewTextHandler(&s.out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	s.Notice = notice.New(log, "etcd does not answer", func() time.Time { return s.at })
	return s
}

// fail fails twice a second for that long.
func (s *scene) fail(d time.Duration) {
	for end := s.at.Add(d); s.at.Before(end); s.at = s.at.Add(500 * time.Millisecond) {
		s.Note(errAway)
	}
}

func (s *scene) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := strings.TrimSpace(s.out.String()); got != strings.Join(lines, "\n") {
		t.Errorf("the log:\n%s\nwant:\n%s", got, strings.Join(lines, "\n"))
	}
}

func TestWhatLastsIsToldWhenItBeginsOnceAMinuteAndWhenItEnds(t *testing.T) {
	s := begin()
	s.Note(nil)
	s.fail(125 * time.Second)
	s.Note(nil, "endpoint", "a")
	s.Note(nil)
	s.want(t,
		`level=WARN msg="etcd does not answer" error=away`,
		`level=WARN msg="etcd does not answer" error=away lasts=1m0s failures=121`,
		`level=WARN msg="etcd does not answer" error=away lasts=2m0s failures=241`,
		`level=INFO msg="over: etcd does not answer" lasted=2m5s failures=250 endpoint=a`)
}

func TestWhatComesAndGoesIsToldOnceAMinute(t *testing.T) {
	s := begin()
	for range 70 { // fails and recovers each second
		s.fail(500 * time.Millisecond)
		s.Note(nil)
		s.at = s.at.Add(500 * time.Millisecond)
	}
	s.want(t,
		`level=WARN msg="etcd does not answer" error=away`,
		`level=INFO msg="over: etcd does not answer" lasted=500ms failures=1`,
		`level=WARN msg="etcd does not answer" error=away`,
		`level=INFO msg="over: etcd does not answer" lasted=500ms failures=1`)
}

func TestASecondOutageThatLastsIsToldWithItsOwnBeginning(t *testing.T) {
	s := begin()
	s.fail(time.Second)
	s.Note(nil)
	s.at = s.at.Add(9 * time.Second)
	s.fail(51 * time.Second)
	s.want(t,
		`level=WARN msg="etcd does not answer" error=away`,
		`level=INFO msg="over: etcd does not answer" lasted=1s failures=2`,
		`level=WARN msg="etcd does not answer" error=away lasts=50s failures=101`)
}

func TestANoticeIsSafeForConcurrentUseAndANilOneSaysNothing(t *testing.T) {
	var none *notice.Notice
	none.Note(errAway)
	s := begin()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				s.Note(errAway)
			}
		})
	}
	all.Wait()
	s.want(t, `level=WARN msg="etcd does not answer" error=away`)
}
