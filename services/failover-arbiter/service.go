package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ofitec/ofitec/chassis"
	chassisetcd "github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/clock"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/cluster"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/epochfile"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/etcd"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/hands"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/haproxy"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/incarnation"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/keeper"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/mandate"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/postgres"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/supervisor"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/timing"
)

// Tests end the process between two steps: failPoint is called before and after each step of a leader, the other two dress what carries out a region's own.
var (
	failPoint   = func(string) {}
	dressHands  = func(*hands.Options) {}
	dressKeeper = func(*keeper.Options) {}
)

// arbiter is one region's, wired.
type arbiter struct {
	config  *Config
	profile timing.Profile
	service *chassis.Service
	epochs  *epochfile.File
	nearest *chassisetcd.Nearest
	keeper  *keeper.Keeper
	hands   *hands.Hands // nil in a region without data
	metrics *metrics

	judgement *judgement
	archivist *archivist        // nil where nothing is archived
	witness   *postgres.Witness // nil where commits need none
}

// serve runs the arbiter until ctx ends. etcd, database and proxy may be away at the start: it is then alive, closed, and not ready.
func serve(ctx context.Context, c *Config) error {
	service, err := chassis.New(name, c.Settings) //nolint:contextcheck // what it starts ends with the service
	if err != nil {
		return err
	}
	profile, err := timing.Named(c.Timing)
	if err != nil {
		return err
	}
	self, err := incarnation.Claim(c.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = self.Release() }()
	epochs, err := epochfile.Open(c.DataDir)
	if err != nil {
		return err
	}
	store, err := chassisetcd.Connect(c.Settings)
	if err != nil {
		return err
	}
	defer store.Close()
	service.Health.Register("etcd", store.Check)

	a := &arbiter{config: c, profile: profile, service: service, epochs: epochs}
	a.nearest = chassisetcd.NewNearest(store.Endpoints(), profile.Patience())
	member, own := store.First()
	service.Log.Info("this member of etcd is asked first: it should be this region's own", "member", member, "at_own_address", own, "patience", profile.Patience())
	a.metrics = newMetrics(service.Metrics)
	if c.holdsData() {
		database := postgres.New(c.PostgresSocketDir, c.PostgresPort, c.PostgresConfDir, service.Log)
		defer database.Close()
		if err := a.addHands(database, epochs, self.Incarnation); err != nil {
			return err
		}
		a.addArchive()
		a.addWitness(database)
	}
	a.addKeeper(self.Incarnation)
	leave, err := a.addJudgement(ctx, store)
	if leave != nil {
		defer leave()
	}
	if err != nil {
		return err
	}
	a.serveHTTP()
	a.serveJudgement()
	service.Metrics.MustRegister(&collector{a})
	if a.hands == nil {
		a.keeper.Learned(ctx, mandate.Learned{Epoch: epochs.Seen()})
	}
	return service.Run(ctx)
}

// addHands makes the hands; they tell the keeper what the database knows.
func (a *arbiter) addHands(database *postgres.Server, epochs *epochfile.File, self mandate.Incarnation) error {
	c, region := a.config, events.Region(a.config.Region)
	upstream := postgres.Upstream{Address: c.PostgresUpstream, PassFile: c.PostgresPassFile, CAFile: c.PostgresCAFile, Slot: hands.SlotOf(region)}
	conninfo, rewind, err := upstream.ConnInfo()
	if err != nil {
		return err
	}
	options := hands.Options{
		Region: region, Proxy: haproxy.New(c.ProxySocket), Database: database, Branching: database, Mirror: database, Witness: c.Sync.Witness, Epochs: epochs, Now: clock.Now, Log: a.service.Log,
		Door: postgres.Door{Address: c.PostgresAddress, Source: c.ProxySource}, Cluster: cluster.New(c.PostgresBinDir, c.PostgresDataDir),
		Upstream: upstream, Source: cluster.Source{ConnInfo: conninfo, Slot: upstream.Slot, Rewind: rewind},
		Reports: etcd.NewReports(a.nearest, region), Incarnation: self.String(), State: a.stateRead,
		Learned: func(ctx context.Context, o mandate.Learned) { a.keeper.Learned(ctx, o) },
		Every:   a.profile.Renew, Deadline: a.profile.RenewDeadline, FenceIn: a.profile.Fence, Pause: a.profile.AuthenticationTimeout, PromoteIn: a.profile.Promote,
	}
	if c.Archive.File != "" {
		options.Feed, options.FeedAfter = c.Archive.in(c), hands.FeedAfter
	}
	if c.SupervisorSocket != "" {
		options.Supervisor = supervisor.New(c.SupervisorSocket)
	}
	dressHands(&options)
	a.hands = hands.New(options)
	a.service.Health.Register("postgres", func(context.Context) error { return a.hands.Answers() })
	a.service.Add("hands", a.hands.Run)
	return nil
}

// addWitness makes commits need this arbiter's mandate, where that is configured.
func (a *arbiter) addWitness(database *postgres.Server) {
	if !a.config.Sync.Witness {
		return
	}
	a.witness = postgres.NewWitness(database, func() bool {
		yes, _ := a.keeper.View().Answer.Yes(clock.Now())
		return yes
	}, a.service.Log)
	a.service.Add("witness", a.witness.Run)
}

// stateRead is the failover's state while it is no older than a mandate may be: the hands do nothing about one that has not been read for so long.
func (a *arbiter) stateRead() *state.Failover {
	view := a.keeper.View()
	if view.LookedAt == 0 || clock.Now().Boot-view.LookedAt > a.profile.Mandate {
		return nil
	}
	return view.Failover
}

func (a *arbiter) addKeeper(self mandate.Incarnation) {
	p, region := a.profile, events.Region(a.config.Region)
	settings := mandate.Settings{
		Region: region, Incarnation: self, First: events.Region(a.config.FirstActive),
		Validity: p.Mandate, Delta: p.Delta, Fence: p.Fence, Renew: p.Renew, Look: p.SeenLatency, Shared: p.Shared(),
	}
	options := keeper.Options{
		Store: etcd.NewStore(a.nearest, region, self.String(), p.Shared(), clock.Now),
		Now:   clock.Now, Log: a.service.Log, Deadline: p.RenewDeadline, Tick: p.Tick, Tally: a.metrics.tally,
	}
	if a.hands != nil {
		options.Hands = a.hands
	}
	dressKeeper(&options)
	a.keeper = keeper.New(settings, options)
	a.service.Health.Register("mandate", func(context.Context) error { return a.mandateSeen() })
	a.service.Add("keeper", a.keeper.Run)
}

// mandateSeen is the readiness of the arbiter's proper work: a mandate that it read lately, under the timing that it has itself.
func (a *arbiter) mandateSeen() error {
	view := a.keeper.View()
	switch age := clock.Now().Boot - view.LookedAt; {
	case view.LookedAt == 0:
		return errors.New("etcd has not answered yet")
	case age > a.profile.Mandate:
		return fmt.Errorf("etcd has not answered for %s", age.Round(time.Millisecond))
	case view.Mandate == nil:
		return errors.New("nobody has ever held the mandate: " + view.Answer.Reason)
	case view.Epoch < view.Known:
		return fmt.Errorf("etcd has epoch %d, but this region has seen epoch %d", view.Epoch, view.Known)
	}
	if view.Config != nil {
		return timing.CheckShared(a.profile, *view.Config)
	}
	return nil
}
