package supervise

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"syscall"
)

// ErrUnknownUnit says that no such unit was added.
var ErrUnknownUnit = errors.New("unknown unit")

// Supervisor runs units until it is closed. All methods may be called concurrently.
type Supervisor struct {
	report  func(Status)
	spawner spawner

	mu    sync.Mutex
	units map[string]*unit
	order []string
	stops map[string]context.CancelFunc
	wait  sync.WaitGroup
}

// New makes an empty supervisor; report is called at each change of a unit, from several goroutines, and may be nil.
func New(report func(Status)) *Supervisor {
	return &Supervisor{report: report, units: map[string]*unit{}, stops: map[string]context.CancelFunc{}}
}

// Add starts a unit and keeps it running. A second unit of the same ID is an error.
func (s *Supervisor) Add(spec Spec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.units[spec.ID()]; ok {
		return fmt.Errorf("add %s: it is there already", spec.ID())
	}
	u := newUnit(spec, &s.spawner, s.report)
	ctx, cancel := context.WithCancel(context.Background())
	s.units[spec.ID()], s.stops[spec.ID()] = u, cancel
	s.order = append(s.order, spec.ID())
	s.wait.Go(func() { u.run(ctx) })
	return nil
}

// Statuses lists all units in the order in which they were added.
func (s *Supervisor) Statuses() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.order))
	for _, id := range s.order {
		all = append(all, s.units[id].snapshot())
	}
	return all
}

// Status of one unit.
func (s *Supervisor) Status(id string) (Status, error) {
	u, err := s.unit(id)
	if err != nil {
		return Status{}, err
	}
	return u.snapshot(), nil
}

// Start asks for a unit to run; it returns at once. A unit that runs already is left alone.
func (s *Supervisor) Start(id string) error {
	u, err := s.unit(id)
	if err != nil {
		return err
	}
	u.want(true)
	return nil
}

// Stop ends a unit with the signal (0: its own stop signal), waits until it and its descendants are gone, and leaves it stopped.
func (s *Supervisor) Stop(ctx context.Context, id string, signal syscall.Signal) error {
	u, err := s.unit(id)
	if err != nil {
		return err
	}
	if signal == 0 {
		signal = u.stopSignal()
	}
	return u.stop(ctx, signal)
}

// Signal sends a signal to a unit's process group and leaves its wanted state alone: SIGSTOP, SIGCONT, or a kill that is followed by a restart.
func (s *Supervisor) Signal(id string, signal syscall.Signal) error {
	u, err := s.unit(id)
	if err != nil {
		return err
	}
	status := u.snapshot()
	if status.PID == 0 {
		return fmt.Errorf("signal %s: it does not run", id)
	}
	return signalGroup(status.PID, signal)
}

// KillRegion kills all units of a region at once and leaves them stopped, like the loss of its power.
func (s *Supervisor) KillRegion(ctx context.Context, region string) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var all []error
	for _, u := range s.inRegion(region) {
		wait.Go(func() {
			if err := u.stop(ctx, syscall.SIGKILL); err != nil {
				mu.Lock()
				all = append(all, err)
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return errors.Join(all...)
}

// StartRegion asks for all units of a region to run.
func (s *Supervisor) StartRegion(region string) {
	for _, u := range s.inRegion(region) {
		u.want(true)
	}
}

// Close stops all units in the reverse order of groups: first those of the last group named, then the one before, and at the end the rest.
// It returns when everything is gone.
func (s *Supervisor) Close(groups ...[]string) {
	stopped := map[string]bool{}
	for i := len(groups) - 1; i >= 0; i-- {
		var wait sync.WaitGroup
		for _, id := range groups[i] {
			u, err := s.unit(id)
			if err != nil || stopped[id] {
				continue
			}
			stopped[id] = true
			wait.Go(func() { _ = u.stop(context.Background(), u.stopSignal()) })
		}
		wait.Wait()
	}
	s.mu.Lock()
	for _, cancel := range s.stops {
		cancel()
	}
	s.mu.Unlock()
	s.wait.Wait()
}

func (s *Supervisor) unit(id string) (*unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.units[id]
	if !ok {
		known := append([]string(nil), s.order...)
		sort.Strings(known)
		return nil, fmt.Errorf("%w %q; known are %v", ErrUnknownUnit, id, known)
	}
	return u, nil
}

func (s *Supervisor) inRegion(region string) []*unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*unit
	for _, id := range s.order {
		if s.units[id].spec.Region == region {
			found = append(found, s.units[id])
		}
	}
	return found
}
