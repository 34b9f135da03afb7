// Package supervise keeps the processes of the local stack running: it starts them in their network namespace and under their user,
// restarts them with a back-off, watches their readiness, and stops them with everything that they have started.
// In production systemd has this place.
package supervise

import (
	"context"
	"syscall"
	"time"
)

// Spec describes one process. It is a value; the supervisor never changes it.
type Spec struct {
	// Name is the component's name as design.md pins it, Region its region, or "" outside of all.
	Name, Region string
	// Path, Args, Env and Dir are the program, its arguments without the program itself, its whole environment and its working folder.
	Path string
	Args []string
	Env  []string
	Dir  string
	// User is the identity under which the process runs; nil for the supervisor's own.
	User *Credential
	// Nice is the scheduling priority, -20 to 19; it needs root and is ignored without.
	Nice int
	// Namespace is the path of a network namespace; "" for the supervisor's own.
	Namespace string
	// LogFile receives what the process prints. It is rotated once at a start when it is over 64 MiB.
	LogFile string
	// Addr is the host:port that people look for; it is only shown.
	Addr string
	// Before runs ahead of every start. An error that wraps ErrHeld leaves the process stopped until someone asks for a start.
	Before func(ctx context.Context) error
	// Ready says whether the process does its work; nil means that running is enough. It is called about every 0.3 s until it is ready, then every 2 s. An error that
	// wraps ErrWedged, for some seconds, gets the process started anew.
	Ready func(ctx context.Context) error
	// StopSignal asks the process to end; SIGTERM when zero. After StopTimeout (10 s when zero) it is killed.
	StopSignal  syscall.Signal
	StopTimeout time.Duration
	// Folder is set where the process has descendants that leave its process group (PostgreSQL's backends call setsid):
	// whatever has this working folder, or one below, belongs to it and is killed with it, looped to zero.
	Folder string
}

// Credential is a numeric user and group.
type Credential struct{ UID, GID uint32 }

// ID names the unit: region/name, or outside/name.
func (s Spec) ID() string {
	if s.Region == "" {
		return "outside/" + s.Name
	}
	return s.Region + "/" + s.Name
}

// State is where a unit is in its life.
type State string

// The states of a unit.
const (
	Stopped  State = "stopped"  // by request; it stays so until a start is asked for
	Starting State = "starting" // the process runs but is not ready yet
	Ready    State = "ready"
	BackOff  State = "back-off" // it ended by itself and is started again soon
	Held     State = "held"     // its Before refused; the reason is in Status.Reason
)

// Status is what a unit looks like from outside.
type Status struct {
	Name     string    `json:"name"`
	Region   string    `json:"region,omitempty"`
	PID      int       `json:"pid"`
	Addr     string    `json:"addr"`
	Ready    bool      `json:"ready"`
	State    State     `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Restarts int       `json:"restarts"`
	Since    time.Time `json:"since"`
}

// Backoff says how long to wait before the n-th restart in a row (n from 1), and after which time of running n starts again.
// 0.2 s, 0.4 s, 0.8 s ... up to 10 s: a database that must be back within its restart budget of 3 s gets three tries.
func Backoff(n int) time.Duration {
	wait := 200 * time.Millisecond
	for i := 1; i < n && wait < 10*time.Second; i++ {
		wait *= 2
	}
	return min(wait, 10*time.Second)
}

const (
	steadyAfter   = 15 * time.Second // running this long forgets earlier restarts
	defaultStop   = 10 * time.Second
	readyInterval = 300 * time.Millisecond
	watchInterval = 2 * time.Second
	readyTimeout  = 2 * time.Second
	maxLogBytes   = 64 << 20
)
