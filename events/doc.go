// Package events is the contract between OFITEC's services: what is published, under which type and subject, in which stream, and what each payload says.
//
// A Payload is a plain struct with a type, an entity, a key and a check of itself. New wraps it into an Event, a CloudEvent 1.0 whose id follows from the payload
// alone, so that saying a thing twice is saying it once. Encode and Decode turn an Event into the structured JSON that travels as the NATS payload and back.
// Definitions lists every type with its publishers and consumers; Streams says where they are kept. Schemas, asyncapi.yaml, NATS permissions and durables all
// follow from these two.
//
// The package does no I/O, starts nothing and needs no transport; all of it may be used from many goroutines at once. An event never carries a secret or a personal datum.
package events

//go:generate go run ./internal/schemagen
