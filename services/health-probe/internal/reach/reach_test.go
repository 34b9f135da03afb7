package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/ofitec/ofitec/events"
)

func TestOnlyTheTargetsTroubleCountsAgainstIt(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, c := range []struct {
		err  error
		want events.Outcome
	}{
		{dial(syscall.ECONNREFUSED), events.OutcomeFailed},
		{dial(syscall.ECONNRESET), events.OutcomeFailed},
		{dial(syscall.EHOSTUNREACH), events.OutcomeFailed},
		{fmt.Errorf("ask: %w", context.DeadlineExceeded), events.OutcomeFailed},
		{errors.New("unexpected EOF"), events.OutcomeFailed},
		{dial(syscall.EMFILE), events.OutcomeUnknown},
		{dial(syscall.ENETUNREACH), events.OutcomeUnknown},
		{dial(syscall.EADDRNOTAVAIL), events.OutcomeUnknown},
		{fmt.Errorf("ask: %w", context.Canceled), events.OutcomeUnknown},
		{dial(&net.DNSError{Err: "no such host", Name: "a.example", IsNotFound: true}), events.OutcomeUnknown},
		{dial(&net.DNSError{Err: "i/o timeout", Name: "a.example", IsTimeout: true}), events.OutcomeUnknown},
	} {
		if got := Blame(c.err); got.Outcome != c.want || got.Reason == "" {
			t.Errorf("%v is %s (%s), want %s", c.err, got.Outcome, got.Reason, c.want)
		}
	}
}

func TestWordsAreShort(t *testing.T) {
	if got := Words(fmt.Errorf("a\n  b\t%s", strings.Repeat("x", 400))); len(got) > 200 || !strings.HasPrefix(got, "a b x") {
		t.Errorf("got %q", got)
	}
}
