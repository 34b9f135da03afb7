// Package clock reads the two clocks that a mandate's deadlines are counted on.
package clock

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
)

// Now reads CLOCK_BOOTTIME and the wall clock. Go's own monotonic clock stands still while a machine is suspended, so it is taken off the wall time.
// It panics where the kernel has no CLOCK_BOOTTIME (Linux before 2.6.39): no deadline would mean anything there.
func Now() mandate.Instant {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error())
	}
	return mandate.Instant{Boot: time.Duration(boot.Nano()), Wall: time.Now().UTC().Round(0)}
}
