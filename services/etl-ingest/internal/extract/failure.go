package extract

import (
	"errors"
	"fmt"
	"time"
)

// Codes of failures, as in export.failed.
const (
	CodeStatus    = "status"    // an answer other than 200
	CodeTruncated = "truncated" // the body ended too early, or holds fewer rows than it says
	CodeTimeout   = "timeout"   // no answer, or none that goes on
	CodeRefused   = "refused"   // no connection
	CodeSchema    = "schema"    // rows without key or write_date, or that cannot be read
	CodeContract  = "contract"  // pages out of order, or that do not go on
	CodeStorage   = "storage"   // the raw file cannot be written
	CodeBus       = "bus"       // the record cannot be announced
	CodeFenced    = "fenced"    // another region is active, or a later epoch has read
)

// PullError is why a dataset could not be pulled. Its text never holds a row.
type PullError struct {
	Code       string
	Status     int           // HTTP status; 0 without an answer
	RetryAfter time.Duration // that the server asked for; 0 when it did not
	Again      bool          // the same request may go well
	Reason     string
	Cause      error
}

// Error implements error.
func (f *PullError) Error() string {
	text := f.Code
	if f.Status != 0 && f.Status != 200 {
		text = fmt.Sprintf("%s %d", text, f.Status)
	}
	if f.Reason != "" {
		text += ": " + f.Reason
	}
	if f.Cause != nil {
		text += ": " + f.Cause.Error()
	}
	return text
}

// Unwrap gives the cause.
func (f *PullError) Unwrap() error { return f.Cause }

// retryDelays are the waits within one walk, after the first, second ... failure of a page; the last one stays.
var retryDelays = []time.Duration{
	500 * time.Millisecond, // 0:00.5
	2 * time.Second,        // 0:02.5
	5 * time.Second,        // 0:07.5
}

// longestWait is how long a walk waits for a server that asked for time. Who asks for more gets it: the walk fails and the schedule waits.
const longestWait = 30 * time.Second

// Retry says whether a page is asked for again after so many failures (from 1), and after which wait.
func Retry(f *PullError, failures, attempts int) (wait time.Duration, again bool) {
	if !f.Again || failures >= attempts || f.RetryAfter > longestWait {
		return 0, false
	}
	return max(retryDelays[min(failures, len(retryDelays))-1], f.RetryAfter), true
}

// runDelays are the waits before the next run after a run that failed, by failed runs in a row.
var runDelays = []time.Duration{
	1 * time.Minute,  // 0:01
	2 * time.Minute,  // 0:03
	5 * time.Minute,  // 0:08
	10 * time.Minute, // 0:18
}

// cutDelays are those after a run that something on the way has kept from working: most cuts are short, and to try costs next to nothing. What lasts longer waits as all else does.
var cutDelays = []time.Duration{
	5 * time.Second,  // 0:05
	10 * time.Second, // 0:15
	20 * time.Second, // 0:35
	40 * time.Second, // 1:15
}

// Cut says that an error is one of the way: the source was not reached or broke off, a proxy says so, or bus or store did not answer. An error that is none of a pull's is one of the manifest
// or the bus.
func Cut(err error) bool {
	var failure *PullError
	if !errors.As(err, &failure) {
		return true
	}
	switch failure.Code {
	case CodeRefused, CodeTimeout, CodeTruncated, CodeStorage, CodeBus:
		return true
	case CodeStatus:
		return failure.Status >= 502 && failure.Status <= 504
	}
	return false
}

// NextRun is when the next run begins: after the interval, or sooner when runs failed, the soonest after a cut, but not before a server that asked for time has had it.
func NextRun(now time.Time, interval time.Duration, failedInARow int, cut bool, retryAfter time.Duration) time.Time {
	wait := interval
	if cut && failedInARow > 0 && failedInARow <= len(cutDelays) {
		return now.Add(max(min(interval, cutDelays[failedInARow-1]), retryAfter))
	}
	if cut {
		failedInARow -= len(cutDelays)
	}
	if failedInARow > 0 && failedInARow <= len(runDelays) {
		wait = min(interval, runDelays[failedInARow-1])
	}
	return now.Add(max(wait, retryAfter))
}
