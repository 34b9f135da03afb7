package bootstrap

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
)

// healthBytes is how much one machine keeps of the observations; a region keeps 16 GiB.
const healthBytes = 1 << 30

// Streams makes the streams, kept by all three servers, and the durables of all services. credentials is the operator's file.
// It fails while the servers have not yet found together, and when a stream that is there differs in what must not change (*bus.RefusedError).
func Streams(ctx context.Context, urls []string, credentials string, config *tls.Config) error {
	conn, err := nats.Connect(strings.Join(urls, ","), nats.Name("ofitec up"), nats.UserCredentials(credentials), nats.Secure(config),
		nats.CustomInboxPrefix("_INBOX.operator"), nats.Timeout(3*time.Second), nats.NoReconnect())
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(10*time.Second))
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	setup := bus.Setup{Replicas: len(layout.Regions), MaxBytes: map[string]int64{events.StreamHealth: healthBytes}, Durables: events.AllDurables()}
	if _, err := bus.Provision(ctx, js, setup); err != nil {
		return fmt.Errorf("make streams: %w", err)
	}
	cursors := jetstream.KeyValueConfig{
		Bucket: events.BucketIngest, Description: "Where etl-ingest is in each dataset.", History: 8, Storage: jetstream.FileStorage, Replicas: len(layout.Regions),
	}
	if _, err := js.CreateOrUpdateKeyValue(ctx, cursors); err != nil {
		return fmt.Errorf("make bucket %s: %w", events.BucketIngest, err)
	}
	return nil
}
