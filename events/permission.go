package events

import "slices"

// Permissions is what a NATS user may publish and subscribe to. What is not allowed is refused, and a denial outranks an allowance.
type Permissions struct {
	PublishAllow   []string
	PublishDeny    []string
	SubscribeAllow []string
}

// InboxPrefix is the prefix of the subjects on which a service in a region gets its answers; nobody else may listen there.
func InboxPrefix(service string, region Region) string {
	return "_INBOX." + service + "." + string(region)
}

// BucketIngest is the JetStream key-value bucket of etl-ingest's cursors, which both data regions share. The operator makes it.
const BucketIngest = "etl_ingest"

// announcesForAll lists the services whose outbox stands in etcd: what the instance of a lost region had to announce, whoever leads next publishes in
// that region's name. All others publish in their own region only.
var announcesForAll = []string{ServiceArbiter, ServiceRotator, ServiceDeployer}

// PublishingRegion is the region in whose name a service in a region may publish; empty means all of them.
func PublishingRegion(service string, region Region) Region {
	if slices.Contains(announcesForAll, service) {
		return ""
	}
	return region
}

// PermissionsOf a service in a region follow from Definitions: it publishes its own types, in its own region unless its outbox is shared, reads through the durables that were made
// for it, parks under its own name, and cannot make, change or delete streams or durables.
func PermissionsOf(service string, region Region) Permissions {
	p := Permissions{
		PublishAllow:   []string{"$JS.API.INFO"},
		PublishDeny:    []string{"$JS.API.STREAM.CREATE.>", "$JS.API.STREAM.UPDATE.>", "$JS.API.STREAM.DELETE.>", "$JS.API.STREAM.PURGE.>", "$JS.API.STREAM.MSG.DELETE.>", "$JS.API.CONSUMER.DURABLE.CREATE.>"},
		SubscribeAllow: []string{InboxPrefix(service, region) + ".>"},
	}
	for _, definition := range Definitions {
		if slices.Contains(definition.Publishers, service) {
			p.PublishAllow = append(p.PublishAllow, Filter(PublishingRegion(service, region), definition.Type))
		}
		if slices.Contains(definition.Live, service) {
			p.SubscribeAllow = append(p.SubscribeAllow, Filter("", definition.Type))
		}
	}
	if service == ServiceIngest {
		p.PublishAllow = append(p.PublishAllow, "$JS.API.STREAM.INFO.KV_"+BucketIngest, "$JS.API.DIRECT.GET.KV_"+BucketIngest+".>", "$KV."+BucketIngest+".>")
	}
	p.reading(service, region)
	p.replaying(service, region)
	return p
}

// reading allows what a bound pull consumer needs.
func (p *Permissions) reading(service string, region Region) {
	parks := false
	for _, durable := range Durables(region) {
		if durable.Service != service {
			continue
		}
		parks = true
		name := durable.Stream + "." + durable.Name
		p.PublishAllow = append(p.PublishAllow, "$JS.API.CONSUMER.INFO."+name, "$JS.API.CONSUMER.MSG.NEXT."+name, "$JS.ACK."+name+".>")
	}
	if parks {
		p.PublishAllow = append(p.PublishAllow, "ofitec."+string(region)+".parked."+service+".>")
	}
}

// replaying allows ephemeral ordered consumers on the streams whose past a service may read, and protects the durables that others depend on:
// a consumer's name is a whole token, so that allowing a name that begins in some way is not possible.
func (p *Permissions) replaying(service string, region Region) {
	for _, stream := range replayed(service) {
		p.PublishAllow = append(p.PublishAllow,
			"$JS.API.STREAM.INFO."+stream,
			"$JS.API.CONSUMER.CREATE."+stream+".>",
			"$JS.API.CONSUMER.INFO."+stream+".*",
			"$JS.API.CONSUMER.DELETE."+stream+".*",
			"$JS.API.CONSUMER.MSG.NEXT."+stream+".*",
		)
		for _, durable := range AllDurables() {
			if durable.Stream != stream {
				continue
			}
			name := stream + "." + durable.Name
			p.PublishDeny = append(p.PublishDeny, "$JS.API.CONSUMER.CREATE."+name, "$JS.API.CONSUMER.CREATE."+name+".>", "$JS.API.CONSUMER.DELETE."+name)
			if durable.Service != service || durable.Region != region {
				p.PublishDeny = append(p.PublishDeny, "$JS.API.CONSUMER.MSG.NEXT."+name)
			}
		}
	}
}

func replayed(service string) []string {
	var streams []string
	for _, definition := range Definitions {
		if slices.Contains(definition.Replayers, service) && !slices.Contains(streams, definition.Stream) {
			streams = append(streams, definition.Stream)
		}
	}
	if len(streams) > 0 {
		streams = append(streams, StreamParked)
	}
	return streams
}
