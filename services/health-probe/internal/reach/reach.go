// Package reach tells a target that cannot be reached from an observer that cannot reach out.
package reach

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

// own are the errors of this machine or process. EHOSTUNREACH is not among them: it is what a dead machine on the same network looks like.
var own = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.EPERM, syscall.EACCES,
}

// Blame gives the result of a request that got no answer: failed, or unknown where the cause is here. A name that cannot be resolved is no cause of the target's: a
// resolver that is away would else be a dead region to all observers that ask it.
func Blame(err error) observation.Result {
	var unresolved *net.DNSError
	if errors.As(err, &unresolved) {
		return observation.Unknown("its name is not resolved here: " + Words(err))
	}
	for _, errno := range own {
		if errors.Is(err, errno) {
			return observation.Unknown("from here: " + Words(err))
		}
	}
	if errors.Is(err, context.Canceled) {
		return observation.Unknown("the observer stops")
	}
	return observation.Failed(Words(err))
}

// Words are an error in one short line.
func Words(err error) string {
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return "no answer in time"
	}
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 200 {
		text = text[:200]
	}
	return text
}
