// Package kv keeps the state of each dataset in a JetStream key-value bucket, one key a dataset.
//
// It needs few rights: publish on $JS.API.STREAM.INFO.KV_<bucket>, $JS.API.DIRECT.GET.KV_<bucket>.$KV.<bucket>.> and $KV.<bucket>.>.
package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/extract"
)

const history = 8 // the last states of a dataset, for whoever wonders

// swapAttempts and swapPause bridge a replica that answers with a state older than the one just written.
const (
	swapAttempts = 20
	swapPause    = 50 * time.Millisecond
)

// States is a bucket. It is safe for concurrent use.
type States struct {
	js     jetstream.JetStream
	bucket string
	create bool

	mu   sync.Mutex
	open jetstream.KeyValue
}

// New names the bucket. With create it is made, with one replica, when it is not there; the secured stack's operator makes it, with three.
func New(js jetstream.JetStream, bucket string, create bool) *States {
	return &States{js: js, bucket: bucket, create: create}
}

// Config is how the bucket is made.
func Config(bucket string, replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{Bucket: bucket, Description: "Where etl-ingest is in each dataset.", History: history, Storage: jetstream.FileStorage, Replicas: replicas}
}

func (s *States) kv(ctx context.Context) (jetstream.KeyValue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		return s.open, nil
	}
	kv, err := s.js.KeyValue(ctx, s.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && s.create {
		kv, err = s.js.CreateKeyValue(ctx, Config(s.bucket, 1))
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", s.bucket, err)
	}
	s.open = kv
	return kv, nil
}

// Get reads the state of a dataset; the zero State when there is none.
func (s *States) Get(ctx context.Context, dataset string) (extract.State, error) {
	state, _, err := s.get(ctx, dataset)
	return state, err
}

func (s *States) get(ctx context.Context, dataset string) (state extract.State, revision uint64, err error) {
	kv, err := s.kv(ctx)
	if err != nil {
		return state, 0, err
	}
	entry, err := kv.Get(ctx, dataset)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return state, 0, nil
	}
	if err != nil {
		return state, 0, fmt.Errorf("read state of %s: %w", dataset, err)
	}
	if err := json.Unmarshal(entry.Value(), &state); err != nil {
		return state, 0, fmt.Errorf("read state of %s at revision %d: %w", dataset, entry.Revision(), err)
	}
	return state, entry.Revision(), nil
}

// Advance takes a record into account, under compare-and-swap. What others have written meanwhile is kept.
func (s *States) Advance(ctx context.Context, dataset string, r extract.Recorded) (extract.State, error) {
	return s.change(ctx, dataset, func(state extract.State) (extract.State, bool) {
		next := state.Advance(r)
		return next, next.Sequence != state.Sequence
	})
}

// Foresee remembers pages, under compare-and-swap.
func (s *States) Foresee(ctx context.Context, dataset string, pages []extract.Seen) error {
	_, err := s.change(ctx, dataset, func(state extract.State) (extract.State, bool) { return state.Foresee(pages), true })
	return err
}

func (s *States) change(ctx context.Context, dataset string, next func(extract.State) (_ extract.State, changed bool)) (extract.State, error) {
	for attempt := 1; ; attempt++ {
		state, revision, err := s.get(ctx, dataset)
		if err != nil {
			return state, err
		}
		next, changed := next(state)
		if !changed {
			return state, nil
		}
		err = s.swap(ctx, dataset, next, revision)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) || attempt == swapAttempts {
			return state, fmt.Errorf("write state of %s: %w", dataset, err)
		}
		select {
		case <-ctx.Done():
			return state, ctx.Err()
		case <-time.After(swapPause):
		}
	}
}

func (s *States) swap(ctx context.Context, dataset string, next extract.State, revision uint64) error {
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	kv, err := s.kv(ctx)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = kv.Create(ctx, dataset, data)
	} else {
		_, err = kv.Update(ctx, dataset, data, revision)
	}
	return err
}
