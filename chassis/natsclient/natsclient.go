// Package natsclient connects a service to the bus under its own identity.
package natsclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/health"
	"github.com/ofitec/ofitec/chassis/metrics"
)

// A lost server is noticed after pingEvery x pingsOutstanding at the latest, and tried again every reconnectWait.
const (
	reconnectWait    = 500 * time.Millisecond
	reconnectJitter  = 250 * time.Millisecond
	dialTimeout      = 2 * time.Second
	pingEvery        = 2 * time.Second
	pingsOutstanding = 2
	drainWithin      = 5 * time.Second
)

// Connect starts the connection of service name in region and returns at once: servers that cannot be reached, and credentials that are
// refused, are tried again for ever, and readiness (Check) tells. An error means settings that cannot work, such as a credentials
// file that cannot be read. The identity may only subscribe below its own inbox prefix, _INBOX.<name>.<region>. The connection is
// safe for concurrent use; the caller ends it with Drain. When ctx ends first, no connection is made.
func Connect(ctx context.Context, s chassis.Settings, name, region string) (*nats.Conn, jetstream.JetStream, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	options := append(reporting(), // first, so that the options below cannot be lost among them
		nats.Name(name+"."+region),
		nats.CustomInboxPrefix("_INBOX."+name+"."+region),
		nats.DontRandomize(), // own region first
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // the user may be made, or made anew, while we wait
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectJitter, reconnectJitter),
		nats.Timeout(dialTimeout),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsOutstanding),
		nats.DrainTimeout(drainWithin),
	)
	identity, err := identity(s)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	conn, err := nats.Connect(strings.Join(s.NATS.URLs, ","), append(options, identity...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	stream, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	return conn, stream, nil
}

// identity is the TLS and credentials part. The client certificate follows its file; the credentials file is read at each connection.
func identity(s chassis.Settings) ([]nats.Option, error) {
	var options []nats.Option
	if s.TLS != (chassis.TLSFiles{}) {
		source, err := s.TLS.Open()
		if err != nil {
			return nil, err
		}
		// Secure alone would demand TLS of nats:// servers too; it is the URL that says whether the connection is encrypted.
		if encrypted(s.NATS.URLs) {
			options = append(options, nats.Secure(source.Client()))
		}
	}
	if s.NATS.Credentials != "" {
		options = append(options, nats.UserCredentials(s.NATS.Credentials))
	}
	return options, nil
}

func encrypted(urls []string) bool {
	for _, u := range urls {
		if strings.HasPrefix(u, "tls://") {
			return true
		}
	}
	return false
}

// reporting writes what happens to the connection to the log.
func reporting() []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(func(c *nats.Conn) { slog.Info("connected to NATS", "server", c.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(c *nats.Conn) { slog.Info("reconnected to NATS", "server", c.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				slog.Warn("lost NATS", "error", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { slog.Debug("cannot reach NATS", "error", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			slog.Error("NATS reports an error", "subject", subject, "error", err)
		}),
	}
}

// Check is ready while the connection is up.
func Check(conn *nats.Conn) health.Check {
	return func(context.Context) error {
		if conn.IsConnected() {
			return nil
		}
		if err := conn.LastError(); err != nil {
			return fmt.Errorf("not connected to NATS (%s): %w", conn.Status(), err)
		}
		return fmt.Errorf("not connected to NATS (%s)", conn.Status())
	}
}

// Observe registers the connection's metrics, the same for every service.
func Observe(r *metrics.Registry, conn *nats.Conn) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ofitec_nats_connected", Help: "1 while the connection to the bus is up, else 0.",
		}, func() float64 {
			if conn.IsConnected() {
				return 1
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ofitec_nats_reconnects_total", Help: "How often the connection to the bus was made again.",
		}, func() float64 { return float64(conn.Stats().Reconnects) }),
	)
}

// Drain ends the connection: subscriptions take no more, what is under way is finished and sent, within 5 s. A connection that is
// not up is closed at once.
func Drain(conn *nats.Conn) {
	defer conn.Close()
	if !conn.IsConnected() {
		return
	}
	closed := conn.StatusChanged(nats.CLOSED)
	if err := conn.Drain(); err != nil {
		if !errors.Is(err, nats.ErrConnectionClosed) {
			slog.Warn("cannot drain NATS", "error", err)
		}
		return
	}
	select {
	case <-closed:
	case <-time.After(2 * drainWithin): // subscriptions first, then publishes, each within drainWithin
		slog.Warn("NATS drain takes too long, closing")
	}
}
