package events_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/example"
)

// table is design.md section 3: type, publishers, durable consumers, stream.
const table = `
health.observed.v1         health-probe      deployer,console  HEALTH
replication.observed.v1    health-probe      console           HEALTH
failover.started.v1        failover-arbiter  console           FACTS
failover.fenced.v1         failover-arbiter  console           FACTS
failover.promoted.v1       failover-arbiter  console           FACTS
failover.switched.v1       failover-arbiter  console           FACTS
failover.completed.v1      failover-arbiter  console           FACTS
failover.aborted.v1        failover-arbiter  console           FACTS
failover.held.v1           failover-arbiter  console           FACTS
failover.rejoined.v1       failover-arbiter  console           FACTS
failover.paused.v1         failover-arbiter  console           FACTS
failover.resumed.v1        failover-arbiter  console           FACTS
failover.overridden.v1     failover-arbiter  console           FACTS
failover.acknowledged.v1   failover-arbiter  console           FACTS
failover.synchronized.v1   failover-arbiter  console           FACTS
credential.rotated.v1      rotator           deployer,console  FACTS
credential.renewed.v1      rotator           deployer,console  FACTS
credential.revoked.v1      rotator           deployer,console  FACTS
credential.expiring.v1     rotator           deployer,console  FACTS
credential.deployed.v1     deployer          rotator,console   FACTS
credential.rolledback.v1   deployer          rotator,console   FACTS
credential.breakglass.v1   rotator           console           FACTS
export.ready.v1            etl-ingest        etl-transform     FACTS
export.failed.v1           etl-ingest        console           FACTS
warehouse.loaded.v1        etl-transform     console           FACTS
warehouse.checked.v1       etl-transform     console           FACTS
warehouse.published.v1     etl-transform     console           FACTS
warehouse.rejected.v1      etl-transform     console           FACTS
warehouse.revealed.v1      etl-transform     console           FACTS
job.rotate.v1              console           rotator           JOBS
job.export.v1              console           etl-ingest        JOBS
`

func TestTheDefinitionsAreTheTableOfTheDesign(t *testing.T) {
	var lines []string
	for _, d := range events.Definitions {
		lines = append(lines, strings.Join([]string{d.Type.Name(), strings.Join(d.Publishers, ","), strings.Join(d.Consumers, ","), d.Stream}, " "))
	}
	var want []string
	for line := range strings.Lines(strings.TrimSpace(table)) {
		want = append(want, strings.Join(strings.Fields(line), " "))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("definitions are\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestEveryTypeHasAnExampleASummaryAndOneStreamThatTakesIt(t *testing.T) {
	for _, d := range events.Definitions {
		payload, found := example.Of(d.Type)
		if !found {
			t.Errorf("%s has no example", d.Type)
			continue
		}
		if d.Summary == "" {
			t.Errorf("%s has no summary", d.Type)
		}
		if d.New().Type() != d.Type {
			t.Errorf("%s makes a %s", d.Type, d.New().Type())
		}
		var takers []string
		for _, stream := range events.Streams {
			for _, filter := range stream.Subjects {
				if matches(filter, events.Subject("b", d.Type, payload.Entity())) {
					takers = append(takers, stream.Name)
				}
			}
		}
		if !slices.Equal(takers, []string{d.Stream}) {
			t.Errorf("%s is taken by %v, want %s only", d.Type, takers, d.Stream)
		}
	}
	if len(example.Payloads()) != len(events.Definitions) {
		t.Errorf("%d examples for %d types", len(example.Payloads()), len(events.Definitions))
	}
}

// matches is NATS's rule for subjects and filters.
func matches(filter, subject string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subject, ".")
	for n, token := range f {
		if token == ">" {
			return len(s) > n
		}
		if n >= len(s) || token != "*" && token != s[n] {
			return false
		}
	}
	return len(f) == len(s)
}

func TestSubjectsAreTakenApartAsTheyWerePutTogether(t *testing.T) {
	region, typ, entity, err := events.ParseSubject("ofitec.b.export.ready.v1.invoice")
	if err != nil || region != "b" || typ != events.TypeExportReady || entity != "invoice" {
		t.Errorf("got %s, %s, %s, %v", region, typ, entity, err)
	}
	for _, subject := range []string{"", "ofitec.b.export.ready.v1", "ofitec.d.export.ready.v1.x", "other.b.export.ready.v1.x", "ofitec.b.export.ready.v1.*", "ofitec.b.export.ready.v1.x.y"} {
		if _, _, _, err := events.ParseSubject(subject); err == nil {
			t.Errorf("%q was accepted", subject)
		}
	}
	if got := events.ParkedSubject("a", "deployer", "ofitec.c.credential.rotated.v1.odoo-db"); got != "ofitec.a.parked.deployer.credential.rotated.v1.odoo-db" {
		t.Errorf("parked under %s", got)
	}
}

func TestOnAWorkQueueNoTwoDurablesWantTheSameSubject(t *testing.T) {
	owner := map[string]string{}
	for _, durable := range events.AllDurables() {
		if durable.Stream != events.StreamJobs {
			continue
		}
		for _, filter := range durable.Filters {
			if owner[filter] != "" {
				t.Errorf("%s is wanted by %s and %s", filter, owner[filter], durable.Name)
			}
			owner[filter] = durable.Name
		}
	}
	if len(owner) != 2 {
		t.Errorf("commands with a taker: %v", owner)
	}
}

func TestAServiceMayPublishItsOwnTypesInItsOwnRegionOnly(t *testing.T) {
	for _, place := range events.Places {
		p := events.PermissionsOf(place.Service, "a")
		for _, d := range events.Definitions {
			for _, region := range events.Regions {
				own := events.PublishingRegion(place.Service, "a")
				want := (own == "" || region == own) && slices.Contains(d.Publishers, place.Service)
				if got := allows(p, events.Subject(region, d.Type, "x")); got != want {
					t.Errorf("%s.a may publish %s in %s: %v, want %v", place.Service, d.Type, region, got, want)
				}
			}
		}
	}
}

func allows(p events.Permissions, subject string) bool {
	match := func(filter string) bool { return matches(filter, subject) }
	return slices.ContainsFunc(p.PublishAllow, match) && !slices.ContainsFunc(p.PublishDeny, match)
}

func TestNobodyMayChangeStreamsOrTheDurablesOfOthers(t *testing.T) {
	for _, place := range events.Places {
		for _, region := range place.Regions {
			p := events.PermissionsOf(place.Service, region)
			for _, stream := range events.Streams {
				for _, verb := range []string{"STREAM.CREATE.", "STREAM.UPDATE.", "STREAM.DELETE.", "STREAM.PURGE.", "STREAM.MSG.DELETE.", "CONSUMER.DURABLE.CREATE."} {
					if allows(p, "$JS.API."+verb+stream.Name) || allows(p, "$JS.API."+verb+stream.Name+".x") {
						t.Errorf("%s.%s may %s%s", place.Service, region, verb, stream.Name)
					}
				}
			}
			for _, durable := range events.AllDurables() {
				name := durable.Stream + "." + durable.Name
				own := durable.Service == place.Service && (durable.Region == region || durable.Region == "")
				if got := allows(p, "$JS.API.CONSUMER.MSG.NEXT."+name); got != own {
					t.Errorf("%s.%s may pull %s: %v, want %v", place.Service, region, name, got, own)
				}
				if got := allows(p, "$JS.ACK."+name+".1.2.3.4.5"); got != own {
					t.Errorf("%s.%s may acknowledge %s: %v, want %v", place.Service, region, name, got, own)
				}
				for _, subject := range []string{"$JS.API.CONSUMER.DELETE." + name, "$JS.API.CONSUMER.CREATE." + name, "$JS.API.CONSUMER.CREATE." + name + ".ofitec.>"} {
					if allows(p, subject) {
						t.Errorf("%s.%s may %s", place.Service, region, subject)
					}
				}
			}
		}
	}
}

func TestOnlyTheIngestMovesItsCursorsAndItCannotDropThem(t *testing.T) {
	for _, place := range events.Places {
		p := events.PermissionsOf(place.Service, "a")
		if got := allows(p, "$KV."+events.BucketIngest+".invoice"); got != (place.Service == events.ServiceIngest) {
			t.Errorf("%s may move a cursor: %v", place.Service, got)
		}
		for _, verb := range []string{"CREATE", "UPDATE", "DELETE", "PURGE"} {
			if allows(p, "$JS.API.STREAM."+verb+".KV_"+events.BucketIngest) {
				t.Errorf("%s may %s the bucket of cursors", place.Service, verb)
			}
		}
	}
}

func TestOnlyTheArbitersListenToObservationsLive(t *testing.T) {
	subject := events.Subject("b", events.TypeHealthObserved, "a")
	for _, place := range events.Places {
		p := events.PermissionsOf(place.Service, "a")
		got := slices.ContainsFunc(p.SubscribeAllow, func(f string) bool { return matches(f, subject) })
		if got != (place.Service == events.ServiceArbiter) {
			t.Errorf("%s may listen: %v", place.Service, got)
		}
	}
}
