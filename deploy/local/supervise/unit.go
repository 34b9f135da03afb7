package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// ErrHeld is wrapped by a Before that refuses a start for a reason that a restart cannot cure.
var ErrHeld = errors.New("held")

// ErrWedged is wrapped by a Ready that sees that the process does not come to its work by itself any more: when nothing else has been seen for wedgedFor, it is ended
// and started again.
var ErrWedged = errors.New("only a new process helps")

const wedgedFor = 5 * time.Second

// unit is one supervised process. Requests come from any goroutine; run owns the process.
type unit struct {
	spec    Spec
	spawner *spawner
	report  func(Status)

	mu     sync.Mutex
	status Status
	exited chan struct{} // closed when the present process has ended; nil while none runs

	wake   chan struct{} // a start was asked for, or the wanted state changed
	wanted bool
	ending syscall.Signal // of the last stop, for a process that was only about to start then
}

func newUnit(spec Spec, spawner *spawner, report func(Status)) *unit {
	return &unit{
		spec: spec, spawner: spawner, report: report, wanted: true, wake: make(chan struct{}, 1),
		status: Status{Name: spec.Name, Region: spec.Region, Addr: spec.Addr, State: Stopped, Since: time.Now()},
	}
}

// run keeps the process alive until ctx ends; then the process is stopped and run returns.
func (u *unit) run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		if !u.isWanted() {
			u.set(func(s *Status) { s.State, s.Ready, s.PID = Stopped, false, 0 })
			u.pause(ctx, 0)
			continue
		}
		began := time.Now()
		err := u.once(ctx)
		if ctx.Err() != nil || !u.isWanted() {
			failures = 0
			continue
		}
		if errors.Is(err, ErrHeld) {
			u.set(func(s *Status) { s.State, s.Ready, s.PID, s.Reason = Held, false, 0, err.Error() })
			u.pause(ctx, 5*time.Second)
			continue
		}
		if time.Since(began) > steadyAfter {
			failures = 0
		}
		failures++
		u.set(func(s *Status) {
			s.State, s.Ready, s.PID, s.Reason = BackOff, false, 0, reason(err)
			s.Restarts++
		})
		u.pause(ctx, Backoff(failures))
	}
	u.set(func(s *Status) { s.State, s.Ready, s.PID = Stopped, false, 0 })
}

// pause waits for a wake-up, or for the duration when it is not zero.
func (u *unit) pause(ctx context.Context, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		timeout = time.After(d)
	}
	select {
	case <-ctx.Done():
	case <-u.wake:
	case <-timeout:
	}
}

// once runs the process one time, to its end.
func (u *unit) once(ctx context.Context) error {
	exited := make(chan struct{})
	u.mu.Lock()
	u.exited = exited
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.exited = nil
		u.mu.Unlock()
		close(exited)
	}()
	if u.spec.Before != nil {
		if err := u.spec.Before(ctx); err != nil {
			return err
		}
	}
	log, err := openLog(u.spec.LogFile)
	if err != nil {
		return err
	}
	cmd, err := u.spawner.start(u.spec, log)
	_ = log.Close()
	if err != nil {
		return err
	}
	u.set(func(s *Status) { s.State, s.Ready, s.PID, s.Reason = Starting, false, cmd.Process.Pid, "" })

	watch, stopWatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { u.watchReadiness(watch, cmd.Process.Pid) })
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	unwanted := make(chan struct{})
	if !u.isWanted() {
		close(unwanted) // the stop came while Before ran and had no process to signal
	}
	select {
	case err = <-ended:
	case <-unwanted:
		err = u.terminate(cmd.Process.Pid, u.endSignal(), ended)
	case <-ctx.Done():
		_ = u.terminate(cmd.Process.Pid, u.stopSignal(), ended)
	}
	stopWatch()
	watching.Wait()
	u.sweep(context.WithoutCancel(ctx), cmd.Process.Pid)
	return err
}

// terminate asks the process to end and kills it when it has not after the stop timeout.
func (u *unit) terminate(pid int, signal syscall.Signal, ended <-chan error) error {
	timeout := u.spec.StopTimeout
	if timeout == 0 {
		timeout = defaultStop
	}
	_ = syscall.Kill(pid, signal) // the leader only: what it started is its own business until the timeout
	select {
	case err := <-ended:
		return err
	case <-time.After(timeout):
		_ = signalGroup(pid, syscall.SIGKILL)
		return <-ended
	}
}

// sweep removes whatever the process has left behind.
func (u *unit) sweep(ctx context.Context, pid int) {
	_ = signalGroup(pid, syscall.SIGKILL)
	if u.spec.Folder != "" {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = KillFolder(ctx, u.spec.Folder)
	}
}

func (u *unit) watchReadiness(ctx context.Context, pid int) {
	ready, hopeful := false, time.Now()
	for {
		err := u.look(ctx)
		if ctx.Err() != nil {
			return
		}
		now, why := err == nil, reason(err)
		if !errors.Is(err, ErrWedged) {
			hopeful = time.Now()
		}
		if time.Since(hopeful) > wedgedFor {
			_ = syscall.Kill(pid, u.stopSignal())
			hopeful = time.Now() // it is given as long again to end
		}
		if now != ready || why != u.snapshot().Reason {
			ready = now
			u.set(func(s *Status) {
				s.Ready, s.Reason = now, why
				if now {
					s.State = Ready
				} else {
					s.State = Starting
				}
			})
		}
		wait := readyInterval
		if ready {
			wait = watchInterval
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// look asks once whether the process does its work.
func (u *unit) look(ctx context.Context) error {
	if u.spec.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return u.spec.Ready(ctx)
}

// want sets whether the process should run, and wakes the loop.
func (u *unit) want(wanted bool) {
	u.mu.Lock()
	u.wanted = wanted
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// stop ends the process with the signal and returns when it and all that it started are gone, or when ctx ends.
func (u *unit) stop(ctx context.Context, signal syscall.Signal) error {
	u.mu.Lock()
	u.ending = signal
	u.mu.Unlock()
	u.want(false)
	u.mu.Lock()
	exited, pid := u.exited, u.status.PID
	u.mu.Unlock()
	if exited == nil {
		return nil
	}
	switch {
	case pid == 0: // not started yet: once sees that it is unwanted
	case signal == syscall.SIGKILL:
		_ = signalGroup(pid, signal)
	default:
		_ = syscall.Kill(pid, signal)
	}
	timeout := u.spec.StopTimeout
	if timeout == 0 {
		timeout = defaultStop
	}
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", u.spec.ID(), ctx.Err())
	case <-time.After(timeout):
		if pid != 0 {
			_ = signalGroup(pid, syscall.SIGKILL)
		}
	}
	select {
	case <-exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop %s: %w", u.spec.ID(), ctx.Err())
	}
}

func (u *unit) stopSignal() syscall.Signal {
	if u.spec.StopSignal == 0 {
		return syscall.SIGTERM
	}
	return u.spec.StopSignal
}

// endSignal is what the last stop asked for.
func (u *unit) endSignal() syscall.Signal {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ending != 0 {
		return u.ending
	}
	return u.stopSignal()
}

func (u *unit) isWanted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.wanted
}

func (u *unit) snapshot() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

func (u *unit) set(change func(*Status)) {
	u.mu.Lock()
	before := u.status
	change(&u.status)
	if u.status.State != before.State {
		u.status.Since = time.Now()
	}
	after := u.status
	u.mu.Unlock()
	if u.report != nil && after != before {
		u.report(after)
	}
}

func reason(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &exit):
		return "ended: " + exit.Error()
	case errors.Is(err, os.ErrNotExist):
		return "missing: " + err.Error()
	default:
		return err.Error()
	}
}
