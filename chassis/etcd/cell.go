package etcd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Codec writes and reads one type. events/state has the strict pair for the documents under /ofitec; JSON is for others.
type Codec[T any] struct {
	Encode func(T) ([]byte, error)
	Decode func([]byte) (T, error)
}

// JSON is a codec that refuses unknown fields: whoever dropped one would erase it with the next swap.
func JSON[T any]() Codec[T] {
	return Codec[T]{
		Encode: func(v T) ([]byte, error) { return json.Marshal(v) },
		Decode: func(data []byte) (T, error) {
			var v T
			decoder := json.NewDecoder(bytes.NewReader(data))
			decoder.DisallowUnknownFields()
			err := decoder.Decode(&v)
			return v, err
		},
	}
}

// Value is what stood under a key at a revision. Revision is the key's mod revision, 0 when there was none; Content is then zero.
type Value[T any] struct {
	Content  T
	Revision int64
}

// Cell is one key with typed content. It holds no state and is safe for concurrent use.
type Cell[T any] struct {
	kv    clientv3.KV
	key   string
	codec Codec[T]
}

// NewCell names the key that a type stands under. kv may be a Client or one member of it.
func NewCell[T any](kv clientv3.KV, key string, codec Codec[T]) Cell[T] {
	return Cell[T]{kv: kv, key: key, codec: codec}
}

// Get reads the value, linearizably.
func (c Cell[T]) Get(ctx context.Context) (Value[T], error) {
	response, err := c.kv.Get(ctx, c.key)
	if err != nil {
		return Value[T]{}, fmt.Errorf("read %s: %w", c.key, err)
	}
	if len(response.Kvs) == 0 {
		return Value[T]{}, nil
	}
	content, err := c.codec.Decode(response.Kvs[0].Value)
	if err != nil {
		return Value[T]{}, fmt.Errorf("read %s at revision %d: %w", c.key, response.Kvs[0].ModRevision, err)
	}
	return Value[T]{Content: content, Revision: response.Kvs[0].ModRevision}, nil
}

// The ways in which a compare-and-swap is refused. The decision that it rested on is thrown away and everything read again.
var (
	ErrConflict = errors.New("another one has written since it was read")
	ErrTermOver = errors.New("this leader's term is over")
)

// SwapOption adds to a swap.
type SwapOption func(*swap)

type swap struct {
	term       *Leadership
	conditions []clientv3.Cmp
	effects    []clientv3.Op
}

// Under makes the swap succeed only while the leadership's key is still the one that was won.
func Under(l *Leadership) SwapOption { return func(s *swap) { s.term = l } }

// If adds a condition on another key; when it fails, the swap is refused with ErrConflict.
func If(conditions ...clientv3.Cmp) SwapOption {
	return func(s *swap) { s.conditions = append(s.conditions, conditions...) }
}

// And adds writes that happen with the swap or not at all: announcements for the outbox, other keys.
func And(effects ...clientv3.Op) SwapOption {
	return func(s *swap) { s.effects = append(s.effects, effects...) }
}

// CompareAndSwap writes next if the key still has the revision of seen (0: does not exist), and gives what then stands there. A refusal wraps
// ErrConflict or ErrTermOver and means that nothing was written. After any other error it is not known whether it was: read again.
func (c Cell[T]) CompareAndSwap(ctx context.Context, seen Value[T], next T, options ...SwapOption) (Value[T], error) {
	data, err := c.codec.Encode(next)
	if err != nil {
		return Value[T]{}, fmt.Errorf("write %s: %w", c.key, err)
	}
	var s swap
	for _, option := range options {
		option(&s)
	}
	conditions := append(s.conditions, clientv3.Compare(clientv3.ModRevision(c.key), "=", seen.Revision))
	var look []clientv3.Op
	if s.term != nil {
		conditions = append(conditions, s.term.Guard())
		look = append(look, clientv3.OpGet(s.term.key))
	}
	effects := append([]clientv3.Op{clientv3.OpPut(c.key, string(data))}, s.effects...)
	response, err := c.kv.Txn(ctx).If(conditions...).Then(effects...).Else(look...).Commit()
	if err != nil {
		return Value[T]{}, fmt.Errorf("write %s: %w", c.key, err)
	}
	if response.Succeeded {
		return Value[T]{Content: next, Revision: response.Header.Revision}, nil
	}
	if s.term != nil && s.term.overIn(response.Responses[0].GetResponseRange().Kvs) {
		return Value[T]{}, fmt.Errorf("write %s in term %d: %w", c.key, s.term.Term, ErrTermOver)
	}
	return Value[T]{}, fmt.Errorf("write %s over revision %d: %w", c.key, seen.Revision, ErrConflict)
}
