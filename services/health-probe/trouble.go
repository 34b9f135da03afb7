package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ofitec/ofitec/chassis/notice"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
)

// startGrace is how long after a start missing data are nothing to speak of: a Prometheus that started with us needs two scrapes and an evaluation.
const startGrace = 30 * time.Second

// noData names the trouble of a Prometheus that answers and does not have what the gates are made of, or contradicts itself.
const noData = "gates"

// troubles tell people what is not well with a region, check by check. The bus has it all in every observation; this is for the log and /readyz. It is safe for
// concurrent use.
type troubles struct {
	since   time.Time // the start
	notices map[string]*notice.Notice

	mu   sync.Mutex
	last []string
}

func newTroubles(target events.Region, log *slog.Logger, now time.Time) *troubles {
	t := &troubles{since: now, notices: map[string]*notice.Notice{noData: notice.New(log, "region "+string(target)+": the gates are unknown", nil)}}
	for _, kind := range observation.Kinds {
		t.notices[string(kind)] = notice.New(log, "region "+string(target)+": the check "+string(kind)+" is not ok", nil)
	}
	return t
}

// note takes what one observation says.
func (t *troubles) note(h events.HealthObserved, now time.Time) {
	early := now.Sub(t.since) < startGrace
	var all []string
	say := func(name string, wrong bool, reason string, args ...any) {
		if !wrong {
			t.notices[name].Note(nil)
			return
		}
		t.notices[name].Note(errors.New(reason), args...)
		if !early {
			all = append(all, name+": "+reason)
		}
	}
	for kind, c := range map[observation.Kind]*events.CheckResult{
		observation.HTTP: h.Checks.HTTP, observation.Postgres: h.Checks.Postgres, observation.Prometheus: h.Checks.Prometheus, observation.DNS: h.Checks.DNS,
	} {
		if c != nil {
			say(string(kind), c.Outcome != events.OutcomeOK, c.Reason, "target", string(h.Target), "check", string(kind), "outcome", string(c.Outcome))
		}
	}
	if h.Gates != nil {
		answers := h.Checks.Prometheus != nil && h.Checks.Prometheus.Outcome == events.OutcomeOK // or that is said already
		missing := answers && h.Gates.Healthy == events.OutcomeUnknown && !early
		say(noData, missing, h.Gates.Reason, "target", string(h.Target))
	}
	slices.Sort(all)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = all
}

// words are for /readyz; none when all is well, or when the service has just started.
func (t *troubles) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.last, "; ")
}
