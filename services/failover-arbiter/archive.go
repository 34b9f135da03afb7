package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/archive"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
)

// archivist lets the database archive while this region holds the mandate, and makes base backups then. Nothing waits for it: a repository that is away costs
// neither a commit nor a failover, but disk space.
type archivist struct {
	archive  archive.Archive
	database *postgres.Server // its own, so that the hands never wait for it
	holds    func() (bool, events.Epoch)
	every    time.Duration // between two base backups
	after    time.Duration // that the mandate must be held before one is made
	tick     time.Duration
	deadline time.Duration // of one call to the database
	log      *slog.Logger

	unread                     bool // what was switched; of run
	unswitched, unseen, unkept *notice.Notice

	mu    sync.Mutex
	known archived
}

// archived is what there is to be seen of it.
type archived struct {
	holds  bool
	state  postgres.Archived
	looked bool // at the repository
	holes  int
	newest time.Time // backup
}

// How often the repository is looked at, and how soon again after it did not answer.
const (
	archiveLook  = 10 * time.Minute
	archiveRetry = 20 * time.Second
	archiveIn    = 2 * time.Minute // one look, or the making of the stanza
	backupIn     = 12 * time.Hour
)

// run switches archiving on and off, and sees how far it is, until ctx ends. Off comes at once: a database that is stopped for a switchover would first archive.
func (a *archivist) run(ctx context.Context) error {
	defer a.database.Close()
	var last time.Time
	for ; ctx.Err() == nil; pause(ctx, a.tick/10) {
		holds, _ := a.holds()
		if holds != a.seen().holds || time.Since(last) >= a.tick {
			last = time.Now()
			a.align(ctx, holds)
		}
	}
	a.align(context.WithoutCancel(ctx), false)
	return nil
}

func (a *archivist) align(ctx context.Context, holds bool) {
	ctx, cancel := context.WithTimeout(ctx, a.deadline)
	defer cancel()
	changed, err := a.archive.Switch(holds)
	if changed {
		a.log.Info("the database archives its WAL", "yes", holds)
		a.unread = true
	}
	if err == nil && a.unread { // a database that does not run reads it at its start, too
		err = a.database.Reload(ctx)
		a.unread = err != nil
	}
	a.unswitched.Note(err)
	known := a.seen()
	known.holds = holds
	if holds {
		state, err := a.database.Archived(ctx)
		a.unseen.Note(err)
		if err == nil {
			known.state = state
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known.looked, known.holes, known.newest = a.known.looked, a.known.holes, a.known.newest
	a.known = known
}

// seen is what was found last.
func (a *archivist) seen() archived {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// keep makes the stanza, offers what the last owner had not archived, and makes the backups that are due, until ctx ends.
func (a *archivist) keep(ctx context.Context) error {
	var begun events.Epoch // the epoch under which the stanza was made and all WAL offered
	var since, next time.Time
	failures := int64(0) // to archive, at the last look at the repository
	for ctx.Err() == nil {
		pause(ctx, a.tick)
		holds, epoch := a.holds()
		if !holds || epoch != begun {
			since, next = time.Now(), time.Time{}
		}
		if !holds {
			continue
		}
		if n := a.seen().state.Failures; n != failures && time.Now().After(next.Add(archiveRetry-archiveLook)) {
			failures, next = n, time.Time{} // what came of them is looked at
		}
		var err error
		switch {
		case epoch != begun:
			err = a.begin(ctx)
			if err == nil {
				begun = epoch
			}
		case time.Since(since) >= a.after && !time.Now().Before(next):
			err = a.back(ctx)
			next = time.Now().Add(archiveLook)
		default:
			continue
		}
		if a.unkept.Note(err); err != nil {
			next = time.Time{}
			pause(ctx, archiveRetry)
		}
	}
	return nil
}

// begin makes the stanza and offers what the owner before had not archived.
func (a *archivist) begin(ctx context.Context) error {
	if err := within(ctx, archiveIn, a.archive.Begin); err != nil {
		return err
	}
	inventory, err := a.look(ctx)
	if err != nil {
		return err
	}
	offered, err := a.archive.Offer(inventory.Missing())
	if offered > 0 {
		a.log.Info("WAL that was not archived before the promotion is archived now", "segments", offered)
	}
	return err
}

// back makes the backup that is due.
func (a *archivist) back(ctx context.Context) error {
	inventory, err := a.look(ctx)
	if err != nil {
		return err
	}
	state, err := a.database.Archived(ctx)
	if err != nil {
		return err
	}
	due, full, why := inventory.Due(time.Now(), a.every, uint32(state.Timeline))
	if !due {
		return nil
	}
	began := clock.Now().Boot
	a.log.Info("base backup begins", "why", why, "full", full)
	if err := within(ctx, backupIn, func(ctx context.Context) error { return a.archive.Backup(ctx, full) }); err != nil {
		return err
	}
	a.log.Info("base backup is made", "took", clock.Now().Boot-began)
	_, err = a.look(ctx)
	return err
}

func (a *archivist) look(ctx context.Context) (inventory archive.Inventory, err error) {
	err = within(ctx, archiveIn, func(ctx context.Context) error {
		inventory, err = a.archive.Look(ctx)
		return err
	})
	if err != nil {
		return inventory, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.looked, a.known.holes = true, inventory.Holes()
	if newest := inventory.Newest(); newest != nil {
		a.known.newest = newest.At
	}
	return inventory, nil
}

func within(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}

// addArchive makes the archivist, where a repository is configured.
func (a *arbiter) addArchive() {
	c := a.config.Archive
	if c.File == "" {
		return
	}
	k := &archivist{
		archive:  c.in(a.config),
		database: postgres.New(a.config.PostgresSocketDir, a.config.PostgresPort, a.config.PostgresConfDir, a.service.Log), every: c.Every, after: c.After, tick: time.Second, deadline: 2 * a.profile.RenewDeadline, log: a.service.Log,
		holds: func() (bool, events.Epoch) {
			answer := a.keeper.View().Answer
			yes, _ := answer.Yes(clock.Now())
			return yes, answer.Epoch
		},
	}
	k.unswitched = notice.New(k.log, "archiving cannot be switched", nil)
	k.unseen = notice.New(k.log, "how far WAL is archived is not known", nil)
	k.unkept = notice.New(k.log, "the archive is not kept: WAL waits on this region's disk", nil)
	a.archivist = k
	a.service.Add("archive", k.run)
	a.service.Add("backups", k.keep)
}
