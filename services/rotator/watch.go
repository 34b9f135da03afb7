package main

import (
	"context"
	"slices"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"

	book "github.com/ofitec/ofitec/services/rotator/internal/etcd"
)

// watch looks at what concerns all credentials, and calls those that it concerns: with many credentials nothing else is asked while nothing is due.
func (r *rotator) watch(ctx context.Context) {
	trouble := notice.New(r.log, "cannot look who writes", nil)
	presence := presence{after: r.away, seen: map[events.Region]sighting{}}
	var before book.Scene
	for ctx.Err() == nil {
		scene, err := book.Look(ctx, r.client)
		trouble.Note(err)
		if err == nil {
			away := presence.away(scene.Reports, time.Now())
			for name, c := range r.credentials {
				if was := *c.absent.Load(); !slices.Equal(was, away) {
					c.absent.Store(&away)
					c.call()
				}
				if scene.Active != before.Active || scene.Epoch != before.Epoch || slices.Contains(scene.Called, name) {
					c.call()
				}
			}
			before = scene
		}
		select {
		case <-ctx.Done():
		case <-time.After(look):
		}
	}
}

// presence tells by this process's own clock which regions' arbiters have stopped to report. One that has never reported is not known to be away.
type presence struct {
	after time.Duration
	seen  map[events.Region]sighting
}

type sighting struct {
	revision int64
	at       time.Time
}

func (p presence) away(reports map[events.Region]int64, now time.Time) []events.Region {
	away := []events.Region{}
	for _, region := range events.DataRegions {
		revision, ok := reports[region]
		if !ok {
			continue
		}
		last := p.seen[region]
		if last.revision != revision {
			p.seen[region] = sighting{revision, now}
		} else if now.Sub(last.at) > p.after {
			away = append(away, region)
		}
	}
	return away
}
