package mandate

import "time"

// Instant is one moment on this machine's two clocks. Deadlines are counted on Boot, which goes on while the machine is suspended; Wall is there to catch a
// Boot clock that lies, by a restored virtual machine for instance.
type Instant struct {
	Boot time.Duration // CLOCK_BOOTTIME
	Wall time.Time
}

// apart is how far the two clocks have moved apart between two moments.
func apart(a, b Instant) time.Duration {
	return (b.Wall.Sub(a.Wall) - (b.Boot - a.Boot)).Abs()
}
