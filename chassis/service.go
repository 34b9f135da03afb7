package chassis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/run"

	"github.com/ofitec/ofitec/chassis/buildinfo"
	"github.com/ofitec/ofitec/chassis/health"
	"github.com/ofitec/ofitec/chassis/metrics"
	"github.com/ofitec/ofitec/chassis/tracing"
)

// stopWithin bounds how long open HTTP requests and unsent spans hold up the end of a service.
const stopWithin = 5 * time.Second

// Service is the furniture that all services share. Its exported fields are set by New and stay as they are.
type Service struct {
	Name    string
	Region  string
	Log     *slog.Logger
	Metrics *metrics.Registry
	Health  *health.Health
	HTTP    *http.ServeMux // has /healthz, /readyz and /metrics; a service adds its own before Run
	// Listening, when set, gives the HTTP server another listener in the place of the service's own.
	Listening func(net.Listener) net.Listener

	address     string
	bound       atomic.Value // string
	actors      []actor
	stopTracing func(context.Context) error
}

type actor struct {
	name string
	run  func(ctx context.Context) error
}

// New makes logger (also slog's default), metrics, health, HTTP handlers and tracer of a service. It does not listen yet; Run does.
//
//nolint:contextcheck // it begins nothing that a caller's context should end
func New(name string, s Settings) (*Service, error) {
	service := &Service{
		Name: name, Region: s.Region,
		Log:     newLogger(os.Stderr, name, s.Region, s.LogLevel),
		Metrics: metrics.New(name),
		Health:  health.New(health.DefaultDeadline),
		HTTP:    http.NewServeMux(),
		address: s.HTTPAddr,
	}
	slog.SetDefault(service.Log)
	stop, err := tracing.Start(context.Background(), name, s.Region, buildinfo.Get().Version)
	if err != nil {
		return nil, err
	}
	service.stopTracing = stop
	service.HTTP.HandleFunc("GET /healthz", service.Health.ServeLive)
	service.HTTP.HandleFunc("GET /readyz", service.Health.ServeReady)
	service.HTTP.Handle("GET /metrics", service.Metrics.Handler())
	return service, nil
}

// Add adds an actor, before Run. Its context ends when the service stops; it then finishes what it has begun and returns.
func (s *Service) Add(name string, run func(ctx context.Context) error) {
	s.actors = append(s.actors, actor{name, run})
}

// Addr is where the service listens, "" before it does; it tells tests which port a configured ":0" became.
func (s *Service) Addr() string {
	address, _ := s.bound.Load().(string)
	return address
}

// Run listens, runs all actors and waits for all of them. The first actor to return, or the end of ctx, stops the rest: readiness goes first,
// then the actors' contexts end, and the HTTP server goes last, so that a drain can be watched. The result is nil when ctx ended
// or the first actor returned nil, else that actor's error.
func (s *Service) Run(ctx context.Context) error {
	defer s.flush(context.WithoutCancel(ctx))
	var listener net.Listener
	if s.address != "" {
		var err error
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", s.address); err != nil {
			return fmt.Errorf("listen on OFITEC_HTTP_ADDR: %w", err)
		}
		s.bound.Store(listener.Addr().String())
		if s.Listening != nil {
			listener = s.Listening(listener)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := func(error) {
		s.Health.Drain()
		cancel()
	}
	var group run.Group
	var working sync.WaitGroup
	if listener != nil {
		s.serve(context.WithoutCancel(ctx), &group, listener, &working)
	}
	group.Add(func() error { <-ctx.Done(); return nil }, stop)
	for _, a := range s.actors {
		working.Add(1)
		group.Add(func() error {
			defer working.Done()
			return s.act(ctx, a)
		}, stop)
	}
	s.Log.Info("service runs", "http_addr", s.Addr())
	err := group.Run()
	s.Log.Info("service stopped")
	return err
}

// act runs one actor. An error that is only the end of the service is none; the others are logged here, since the group keeps but the first.
func (s *Service) act(ctx context.Context, a actor) error {
	err := a.run(ctx)
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		s.Log.Debug("actor stopped", "actor", a.name)
		return nil
	}
	s.Log.Error("actor failed", "actor", a.name, "error", err)
	return fmt.Errorf("run %s: %w", a.name, err)
}

// serve adds the HTTP server; it outlives all other actors.
func (s *Service) serve(ctx context.Context, group *run.Group, listener net.Listener, working *sync.WaitGroup) {
	server := &http.Server{Handler: s.HTTP, ReadHeaderTimeout: stopWithin, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelWarn)}
	closed := make(chan struct{})
	group.Add(func() error {
		err := server.Serve(listener)
		if errors.Is(err, http.ErrServerClosed) {
			<-closed
			return nil
		}
		return fmt.Errorf("serve HTTP: %w", err)
	}, func(error) {
		s.Health.Drain()
		go func() {
			defer close(closed)
			working.Wait()
			ctx, cancel := context.WithTimeout(ctx, stopWithin)
			defer cancel()
			if err := server.Shutdown(ctx); err != nil {
				s.Log.Warn("HTTP requests cut off", "error", err)
			}
		}()
	})
}

func (s *Service) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if err := s.stopTracing(ctx); err != nil {
		s.Log.Warn("spans not sent", "error", err)
	}
}

// newLogger writes JSON lines with the attributes by which logs of many services are told apart.
func newLogger(w io.Writer, service, region string, level slog.Level) *slog.Logger {
	handler := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	return slog.New(handler).With("service", service, "region", region, "version", buildinfo.Get().Version)
}
