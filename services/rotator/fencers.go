package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ofitec/ofitec/services/rotator/internal/postgres"
	"github.com/ofitec/ofitec/services/rotator/internal/vault"
)

const (
	fencerIdle = 2 * time.Second  // how long one that has no work waits for more
	fencerLife = 60 * time.Second // how old one may be that gets more: its lease is of minutes
)

// fencers are users of minutes who may fence the application's. One goes from work to work while there is some: with hundreds of credentials, making and ending each
// would cost as much as the rotations. It is safe for concurrent use; each has one work at a time.
type fencers struct {
	engine *vault.Engine
	server postgres.Server
	log    *slog.Logger

	mu   sync.Mutex
	idle []*fencer // the one that had work last is the last
}

type fencer struct {
	*postgres.Fencer
	login vault.Secret
	made  time.Time
	rest  *time.Timer // ends it when nobody takes it
}

// with does something with one, and ends it when that has failed: its session may be what is wrong.
func (f *fencers) with(ctx context.Context, do func(*postgres.Fencer) error) error {
	one, err := f.take(ctx)
	if err != nil {
		return err
	}
	if err := do(one.Fencer); err != nil {
		f.dismiss(ctx, one)
		return err
	}
	f.lay(ctx, one)
	return nil
}

// take gives one that is idle and still where writes are taken, or makes one.
func (f *fencers) take(ctx context.Context) (*fencer, error) {
	for one := f.pop(); one != nil; one = f.pop() {
		if time.Since(one.made) < fencerLife && one.Writes(ctx) {
			return one, nil
		}
		f.dismiss(ctx, one)
	}
	made := time.Now()
	login, err := f.engine.MintFencer(ctx)
	if err != nil {
		return nil, err
	}
	one := &fencer{login: login, made: made}
	if one.Fencer, err = f.server.OpenFencer(ctx, login.User, login.Fields[vault.FieldPassword]); err != nil {
		f.dismiss(ctx, one)
		return nil, err
	}
	return one, nil
}

func (f *fencers) pop() *fencer {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := len(f.idle) - 1; n >= 0; n-- {
		one := f.idle[n]
		f.idle = f.idle[:n]
		if one.rest.Stop() { // else its rest is over, and ends it
			return one
		}
	}
	return nil
}

// lay puts one aside until there is work for it, or until its rest is over.
func (f *fencers) lay(ctx context.Context, one *fencer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx = context.WithoutCancel(ctx)
	one.rest = time.AfterFunc(fencerIdle, func() { f.dismiss(ctx, one) })
	f.idle = append(f.idle, one)
}

// close ends those that are idle.
func (f *fencers) close(ctx context.Context) {
	var all sync.WaitGroup
	for one := f.pop(); one != nil; one = f.pop() {
		all.Go(func() { f.dismiss(ctx, one) })
	}
	all.Wait()
}

// dismiss ends one now.
func (f *fencers) dismiss(ctx context.Context, one *fencer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if one.Fencer != nil {
		one.Close(ctx)
	}
	if err := f.engine.Revoke(ctx, one.login.ID); err != nil {
		f.log.WarnContext(ctx, "the fencer's lease is left to its ttl", "lease", one.login.ID, "error", err)
	}
}
