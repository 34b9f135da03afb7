package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/events"
)

// Setup says how streams and durables are made.
type Setup struct {
	Replicas int              // 1 where one server stands alone, 3 in the three regions
	MaxBytes map[string]int64 // by stream, instead of events.Streams
	Streams  []string         // names of those to be made; nil for all
	Durables []events.Durable // to be made beforehand; nil for none
}

// RefusedError says which change was refused, since it would lose or rewrite what is stored.
type RefusedError struct {
	Object string // stream or consumer
	Field  string
	Have   any
	Want   any
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: %s is %v, want %v: this is not changed by itself", e.Object, e.Field, e.Have, e.Want)
}

// Provision makes the streams of events.Streams and the durables of the setup, and brings what is there in line with them. It may be repeated.
// It looks at everything first: when one change must not be made (retention, storage, discard, fewer subjects, weaker denials, less room, fewer replicas),
// nothing is made, and the error has a *RefusedError for each. It returns what it did, one sentence a change.
func Provision(ctx context.Context, js jetstream.JetStream, setup Setup) ([]string, error) {
	var steps []step
	var refused []error
	for _, stream := range events.Streams {
		if len(setup.Streams) > 0 && !slices.Contains(setup.Streams, stream.Name) {
			continue
		}
		s, problems, err := planStream(ctx, js, streamConfig(stream, setup))
		if err != nil {
			return nil, err
		}
		refused = append(refused, problems...)
		steps = append(steps, s...)
	}
	for _, durable := range setup.Durables {
		s, problems, err := planDurable(ctx, js, durable)
		if err != nil {
			return nil, err
		}
		refused = append(refused, problems...)
		steps = append(steps, s...)
	}
	if len(refused) > 0 {
		return nil, fmt.Errorf("provision streams: %w", errors.Join(refused...))
	}
	var done []string
	for _, s := range steps {
		if err := s.apply(ctx); err != nil {
			return done, fmt.Errorf("provision streams: %s: %w", s.what, err)
		}
		done = append(done, s.what)
	}
	return done, nil
}

type step struct {
	what  string
	apply func(context.Context) error
}

func streamConfig(s events.Stream, setup Setup) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name: s.Name, Description: s.Summary, Subjects: s.Subjects, MaxAge: s.MaxAge, MaxBytes: s.MaxBytes,
		Storage: jetstream.FileStorage, Replicas: max(setup.Replicas, 1), Duplicates: s.Duplicates,
		DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
	}
	if s.Retention == events.RetainWorkQueue {
		config.Retention = jetstream.WorkQueuePolicy
	}
	if s.Discard == events.DiscardNew {
		config.Discard = jetstream.DiscardNew
	}
	if limit, set := setup.MaxBytes[s.Name]; set {
		config.MaxBytes = limit
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = -1
	}
	return config
}

func planStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) ([]step, []error, error) {
	stream, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return []step{{"stream " + want.Name + " made", func(ctx context.Context) error {
			_, err := js.CreateStream(ctx, want)
			return err
		}}}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read stream %s: %w", want.Name, err)
	}
	have := stream.CachedInfo().Config
	if problems := forbidden(have, want); len(problems) > 0 {
		return nil, problems, nil
	}
	if sameStream(have, want) {
		return nil, nil, nil
	}
	merged := have
	merged.Subjects, merged.Description, merged.MaxAge, merged.MaxBytes = want.Subjects, want.Description, want.MaxAge, want.MaxBytes
	merged.Replicas, merged.Duplicates = want.Replicas, want.Duplicates
	return []step{{"stream " + want.Name + " updated", func(ctx context.Context) error {
		_, err := js.UpdateStream(ctx, merged)
		return err
	}}}, nil, nil
}

// forbidden lists the differences that must not be made to go away by an update.
func forbidden(have, want jetstream.StreamConfig) []error {
	var problems []error
	refuse := func(bad bool, field string, h, w any) {
		if bad {
			problems = append(problems, &RefusedError{Object: "stream " + want.Name, Field: field, Have: h, Want: w})
		}
	}
	refuse(have.Retention != want.Retention, "retention", have.Retention, want.Retention)
	refuse(have.Storage != want.Storage, "storage", have.Storage, want.Storage)
	refuse(have.Discard != want.Discard, "discard", have.Discard, want.Discard)
	refuse(have.DenyDelete != want.DenyDelete, "deny_delete", have.DenyDelete, want.DenyDelete)
	refuse(have.DenyPurge != want.DenyPurge, "deny_purge", have.DenyPurge, want.DenyPurge)
	removed := slices.ContainsFunc(have.Subjects, func(subject string) bool { return !slices.Contains(want.Subjects, subject) })
	refuse(removed, "subjects", have.Subjects, want.Subjects)
	refuse(shrinks(int64(have.MaxAge), int64(want.MaxAge)), "max_age", have.MaxAge, want.MaxAge)
	refuse(shrinks(have.MaxBytes, want.MaxBytes), "max_bytes", have.MaxBytes, want.MaxBytes)
	refuse(want.Replicas < have.Replicas, "replicas", have.Replicas, want.Replicas)
	return problems
}

// shrinks compares two limits, of which zero and less mean none.
func shrinks(have, want int64) bool { return want > 0 && (have <= 0 || want < have) }

func sameStream(have, want jetstream.StreamConfig) bool {
	return sameSet(have.Subjects, want.Subjects) && have.Description == want.Description && have.MaxAge == want.MaxAge &&
		have.MaxBytes == want.MaxBytes && have.Replicas == want.Replicas && have.Duplicates == want.Duplicates
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

const maxAckPending = 256

// durableConfig has no limit of deliveries: the consumer counts them itself and parks.
func durableConfig(name string, filters []string, fromNow bool, ackWait time.Duration) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Durable: name, FilterSubjects: filters, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
	}
	if fromNow {
		config.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	return config
}

func planDurable(ctx context.Context, js jetstream.JetStream, durable events.Durable) ([]step, []error, error) {
	want := durableConfig(durable.Name, durable.Filters, durable.New, defaultAckWait)
	object := "durable " + durable.Name + " of " + durable.Stream
	apply := func(ctx context.Context) error {
		_, err := js.CreateOrUpdateConsumer(ctx, durable.Stream, want)
		return err
	}
	consumer, err := js.Consumer(ctx, durable.Stream, durable.Name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return []step{{object + " made", apply}}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", object, err)
	}
	have := consumer.CachedInfo().Config
	filters := have.FilterSubjects
	if have.FilterSubject != "" {
		filters = []string{have.FilterSubject}
	}
	var problems []error
	if have.DeliverPolicy != want.DeliverPolicy {
		problems = append(problems, &RefusedError{Object: object, Field: "deliver_policy", Have: have.DeliverPolicy, Want: want.DeliverPolicy})
	}
	if have.AckPolicy != want.AckPolicy {
		problems = append(problems, &RefusedError{Object: object, Field: "ack_policy", Have: have.AckPolicy, Want: want.AckPolicy})
	}
	if slices.ContainsFunc(filters, func(f string) bool { return !slices.Contains(want.FilterSubjects, f) }) {
		problems = append(problems, &RefusedError{Object: object, Field: "filter_subjects", Have: filters, Want: want.FilterSubjects})
	}
	if len(problems) > 0 {
		return nil, problems, nil
	}
	if sameSet(filters, want.FilterSubjects) && have.MaxDeliver == want.MaxDeliver && have.AckWait == want.AckWait && have.MaxAckPending == want.MaxAckPending {
		return nil, nil, nil
	}
	return []step{{object + " updated", apply}}, nil, nil
}
