package postgres

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fenced runs the counting of a fence with F of 1.5 s and a pause of 1 s, and says how long it took. Counts that run out are followed by the last one.
func fenced(t *testing.T, each time.Duration, says ...int) (counts []int, took time.Duration, err error) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		ending, end := context.WithTimeout(ctx, 1500*time.Millisecond)
		defer end()
		counts, err = emptied(ctx, ending, time.Second, func(ctx context.Context) (int, error) {
			if err := sleep(ctx, each); err != nil {
				return 0, err
			}
			n := says[0]
			if len(says) > 1 {
				says = says[1:]
			}
			return n, nil
		})
		took = time.Since(began)
	})
	return counts, took, err
}

func TestSessionsThatDoNotEndWithinFEndTheFenceAtF(t *testing.T) {
	counts, took, err := fenced(t, 0, 3)
	if !errors.Is(err, context.DeadlineExceeded) || took != 1500*time.Millisecond || counts[len(counts)-1] != 3 {
		t.Errorf("%v after %s, counts %v", err, took, counts)
	}
}

func TestACountThatHangsEndsTheFenceAtF(t *testing.T) {
	if _, took, err := fenced(t, time.Hour, 3); err == nil || took != 1500*time.Millisecond {
		t.Errorf("%v after %s", err, took)
	}
}

func TestTheProofOfAFenceMayTakeLongerThanF(t *testing.T) {
	counts, took, err := fenced(t, 0, append(slices.Repeat([]int{1}, 20), 0)...) // the last session ends after 1 s
	if err != nil || took != 2*time.Second {
		t.Errorf("%v after %s, counts %v", err, took, counts)
	}
}

func TestALoginThatIsFoundAfterFEndsTheFenceAtOnce(t *testing.T) {
	_, took, err := fenced(t, 0, append(slices.Repeat([]int{1}, 20), 0, 1)...)
	if err == nil || took != 2*time.Second {
		t.Errorf("%v after %s", err, took)
	}
}

func TestSessionsAreCountedOnceALoginIsTurnedAway(t *testing.T) {
	letIn := errors.Join(ErrNotRefused, ErrLetIn)
	for _, c := range []struct {
		name    string
		says    []error
		refused bool
		fails   bool
		took    time.Duration
	}{
		{"at once", []error{nil}, true, false, 0},
		{"the server reads its new rules late", []error{letIn, letIn, nil}, true, false, 2 * soon},
		{"the door cannot be tried", []error{ErrNotRefused}, false, false, 0},
		{"the rules do not change", []error{letIn}, false, true, 1500 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, says := time.Now(), c.says
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				refused, err := turnedAway(ctx, 300*time.Millisecond, func(context.Context) error {
					said := says[0]
					says = says[min(1, len(says)-1):]
					return said
				})
				if refused != c.refused || (err != nil) != c.fails || time.Since(began) != c.took {
					t.Errorf("refused %v, %v after %s", refused, err, time.Since(began))
				}
			})
		})
	}
}
