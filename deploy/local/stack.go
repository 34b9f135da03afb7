package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy/local/control"
	"github.com/ofitec/ofitec/deploy/local/debian"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/netns"
	"github.com/ofitec/ofitec/deploy/local/servers"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// Stack is a running stack. Its exported methods are the operator's, by the control socket; all may be called concurrently.
type Stack struct {
	options    Options
	folder     *folder
	layout     layout.Layout
	owners     owners
	programs   programs
	identities *identity.Set
	tls        *tls.Config
	supervisor *supervise.Supervisor
	terminal   *terminal
	down       context.CancelFunc

	mu      sync.Mutex
	pending map[string]bool // what is still being built or prepared
	groups  [][]string      // units in the order in which they were started
	lost    map[layout.Region]control.Loss

	restores chan layout.Region // asked for, not yet begun; never closed

	readers sync.Mutex // held while a file of readers is written
}

var _ control.Stack = (*Stack)(nil)

// Up prepares what is missing, starts the stack and keeps it running until ctx ends or `ofitec down` asks. It returns when everything is gone:
// nil when it was stopped, an error when it could not be started.
func Up(ctx context.Context, options Options) error {
	options, err := options.withDefaults()
	if err != nil {
		return err
	}
	ctx, down := context.WithCancel(ctx)
	defer down()
	folder, err := admit(ctx, options)
	if err != nil {
		return err
	}
	defer func() { _ = folder.close() }()
	s := &Stack{
		options: options, folder: folder, layout: folder.layout, down: down,
		programs: programs{folder: folder.layout.Root + "/programs", ours: options.Binaries},
		terminal: newTerminal(options.Out), pending: map[string]bool{},
		lost: map[layout.Region]control.Loss{}, restores: make(chan layout.Region, len(layout.Regions)),
	}
	s.supervisor = supervise.New(s.terminal.component)
	err = s.run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return nil
	}
	return err
}

// admit looks for whatever would stop a start, before anything is made, installed or built: a refused start leaves no trace.
func admit(ctx context.Context, options Options) (*folder, error) {
	f, err := inspectFolder(options, freeBytes)
	if err != nil {
		return nil, err
	}
	if f.lock != nil {
		err = f.sweep(ctx)
	}
	if err == nil {
		err = checkPorts(f.layout.Addressing)
	}
	if err == nil {
		err = debian.Installable()
	}
	if err != nil {
		_ = f.close()
		return nil, err
	}
	return f, nil
}

// run starts everything, waits for the end, and takes everything down again, whatever happened.
func (s *Stack) run(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		s.detachDisks()
		s.folder.undo()
		return err
	}
	defer func() { //nolint:contextcheck // ctx has ended by now
		s.terminal.say("stopping")
		s.supervisor.Close(s.startedGroups()...)
		if s.options.Namespaces {
			netns.Remove(context.Background())
		}
		s.detachDisks()
		_ = os.RemoveAll(s.layout.SocketRoot())
		s.terminal.say("stopped; start again with: ofitec up --data %s", s.options.Data)
	}()
	stopServing, err := s.serve()
	if err != nil {
		return err
	}
	defer stopServing()
	return s.start(ctx)
}

// start brings the groups up in order; what waits for a long build starts beside the rest.
func (s *Stack) start(ctx context.Context) error {
	began := time.Now()
	failed := make(chan error, 3)
	var beside sync.WaitGroup
	late := func(name string, run func(context.Context) error) {
		s.setPending(name, true)
		beside.Go(func() {
			if err := run(ctx); err != nil {
				failed <- fmt.Errorf("%s: %w", name, err)
				return
			}
			s.setPending(name, false)
		})
	}
	defer beside.Wait()
	const regions = "regions" // pending until every component has been asked to start: before, too few would count as all
	s.setPending(regions, true)
	late("minio", s.startObjects)
	if err := s.startBase(ctx); err != nil {
		return err
	}
	if !s.options.WithoutVault {
		late("vault", s.startVault)
	}
	if err := s.startBusiness(ctx); err != nil {
		return err
	}
	s.setPending(regions, false)
	beside.Go(func() { s.announce(ctx, began) })
	beside.Go(func() { s.restoring(ctx) })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		s.down()
		return err
	}
}

// announce says what is where, once everything is ready.
func (s *Stack) announce(ctx context.Context, began time.Time) {
	for !s.Status().Ready {
		select {
		case <-ctx.Done():
			return
		case <-time.After(300 * time.Millisecond):
		}
	}
	s.terminal.ready(s.layout, time.Since(began))
}

// add starts a group of units.
//
//nolint:contextcheck // units run until the supervisor is closed, in order, and not until a context ends
func (s *Stack) add(specs ...supervise.Spec) error {
	var group []string
	for _, spec := range specs {
		if err := s.supervisor.Add(spec); err != nil {
			return err
		}
		group = append(group, spec.ID())
	}
	s.mu.Lock()
	s.groups = append(s.groups, group)
	s.mu.Unlock()
	return nil
}

// await waits until units are ready; it fails only when ctx ends, and says every 10 s for whom it waits.
func (s *Stack) await(ctx context.Context, ids ...string) error {
	said := time.Now()
	for {
		var waiting []string
		for _, id := range ids {
			status, err := s.supervisor.Status(id)
			if err != nil {
				return err
			}
			if !status.Ready {
				waiting = append(waiting, id+" ("+status.Reason+")")
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			s.terminal.say("waiting for %v", waiting)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %v: %w", waiting, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Attempts of a bootstrap step. A request to a cluster that still elects is lost, so a short one is tried again soon; a copy of a database takes its time.
const (
	shortAttempt = 5 * time.Second
	longAttempt  = 10 * time.Minute
)

// retry repeats a step of the bootstrap, each of which is idempotent, until it succeeds or ctx ends.
func (s *Stack) retry(ctx context.Context, what string, within time.Duration, step func(ctx context.Context) error) error {
	said := time.Now()
	for {
		attempt, cancel := context.WithTimeout(ctx, within)
		err := step(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			s.terminal.say("%s: not yet: %v", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, ctx.Err(), err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *Stack) startedGroups() [][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]string(nil), s.groups...)
}

func (s *Stack) setPending(name string, pending bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pending {
		s.pending[name] = true
	} else {
		delete(s.pending, name)
	}
}

// serve opens the operator's socket and, in each data region, one for the arbiter and one for the deployer.
func (s *Stack) serve() (stop func(), err error) {
	var closers []func()
	stop = func() {
		for _, closer := range closers {
			closer()
		}
	}
	open := func(path string, owner *supervise.Credential, handler http.Handler) error {
		listener, err := control.Listen(path, owner)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
		go func() { _ = server.Serve(listener) }()
		closers = append(closers, func() { _ = server.Close() })
		return nil
	}
	if err := open(s.layout.ControlSocket(), nil, control.Handler(s)); err != nil {
		return stop, err
	}
	for _, r := range layout.DataRegions {
		if err := open(s.layout.SupervisorSocket(r), s.owners.of("failover-arbiter"), control.RegionHandler(s, string(r))); err != nil {
			stop()
			return nil, err
		}
		if err := open(s.layout.OdooSocket(r), s.owners.of("deployer"), control.OdooHandler(s, string(r), s.renderer(r))); err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

// Status implements control.Stack.
func (s *Stack) Status() control.Status {
	status := control.Status{PID: os.Getpid(), Data: s.layout.Root, Namespaces: s.options.Namespaces, CommitWitness: s.options.CommitWitness, Strict: s.options.Strict, Pending: []string{}, Components: s.supervisor.Statuses(), Lost: s.losses()}
	s.mu.Lock()
	for name := range s.pending {
		status.Pending = append(status.Pending, name)
	}
	s.mu.Unlock()
	status.Ready = len(status.Pending) == 0 && len(status.Components) > 0
	for _, component := range status.Components {
		status.Ready = status.Ready && component.Ready
	}
	return status
}

// Down implements control.Stack.
func (s *Stack) Down() { s.down() }

// StartUnit implements control.Stack.
func (s *Stack) StartUnit(id string) error {
	if err := s.refuseStart(id); err != nil {
		return err
	}
	return s.supervisor.Start(id)
}

// StopUnit implements control.Stack.
func (s *Stack) StopUnit(ctx context.Context, id string, signal syscall.Signal) error {
	return s.supervisor.Stop(ctx, id, signal)
}

// SignalUnit implements control.Stack.
func (s *Stack) SignalUnit(id string, signal syscall.Signal) error {
	return s.supervisor.Signal(id, signal)
}

// Open finds the layout of an existing data folder, for the operator's command.
func Open(data string) (layout.Layout, error) {
	options := Options{Data: data}
	if options.Data == "" {
		options.Data = ".ofitec"
	}
	return peek(options)
}

// server ensures that a server of the cache is there and gives its program.
func (s *Stack) server(ctx context.Context, server servers.Server) (string, error) {
	if _, err := server.Ensure(ctx, s.terminal.say); err != nil {
		return "", err
	}
	return s.programs.built(ctx, server)
}

// url is an http address of a region's port.
func (s *Stack) url(r layout.Region, port int, path string) string {
	return "http://" + s.layout.Addressing.Addr(r, port) + path
}

// scrapeInterval is short, because a newcomer looks at the gates within seconds.
const scrapeInterval = 2 * time.Second

func (s *Stack) outside(port int) string {
	return net.JoinHostPort(s.layout.Addressing.Outside, fmt.Sprint(port))
}
