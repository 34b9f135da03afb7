package contract

import (
	"bytes"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/ofitec/ofitec/events"
)

// object is a YAML mapping that keeps its order.
type object []pair

type pair struct {
	key   string
	value any
}

// MarshalYAML implements yaml.Marshaler.
func (o object) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, p := range o {
		var key, value yaml.Node
		if err := key.Encode(p.key); err != nil {
			return nil, err
		}
		if err := value.Encode(p.value); err != nil {
			return nil, err
		}
		node.Content = append(node.Content, &key, &value)
	}
	return node, nil
}

func ref(path string) object { return object{{"$ref", path}} }

// AsyncAPI is the AsyncAPI 3.0 document: one channel and one message a type, one send operation a publisher and one receive operation a consumer.
func AsyncAPI() ([]byte, error) {
	var channels, operations, messages object
	for _, d := range events.Definitions {
		name := channelName(d.Type)
		channels = append(channels, pair{name, channel(d, name)})
		messages = append(messages, pair{name, message(d)})
		for _, service := range d.Publishers {
			operations = append(operations, pair{"send_" + name + "_" + service, operation("send", name, service)})
		}
		for _, service := range append(append([]string{}, d.Consumers...), d.Live...) {
			operations = append(operations, pair{"receive_" + name + "_" + service, operation("receive", name, service)})
		}
		if d.External {
			operations = append(operations, pair{"receive_" + name + "_external", operation("receive", name, "external")})
		}
	}
	document := object{
		{"asyncapi", "3.0.0"},
		{"info", object{
			{"title", "OFITEC events"}, {"version", "1.0.0"},
			{"description", "CloudEvents 1.0, structured JSON, on NATS JetStream. Derived from events.Definitions; do not edit, run go generate."},
			{"license", object{{"name", "Apache-2.0"}}},
		}},
		{"defaultContentType", events.ContentType},
		{"channels", channels},
		{"operations", operations},
		{"components", object{{"messages", messages}, {"schemas", object{{"envelope", envelope()}}}}},
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(document); err != nil {
		return nil, fmt.Errorf("write asyncapi: %w", err)
	}
	return text.Bytes(), nil
}

func channelName(t events.Type) string { return strings.ReplaceAll(t.Name(), ".", "_") }

func channel(d events.Definition, name string) object {
	return object{
		{"address", "ofitec.{region}." + d.Type.Name() + ".{entity}"},
		{"summary", d.Summary},
		{"description", "Kept in the stream " + d.Stream + "."},
		{"messages", object{{name, ref("#/components/messages/" + name)}}},
		{"parameters", object{
			{"region", object{{"description", "Region of the publisher."}, {"enum", []string{"a", "b", "c"}}}},
			{"entity", object{{"description", "What the event is about; one token."}}},
		}},
	}
}

func operation(action, name, service string) object {
	return object{
		{"action", action},
		{"title", service},
		{"channel", ref("#/channels/" + name)},
		{"messages", []object{ref("#/channels/" + name + "/messages/" + name)}},
	}
}

func message(d events.Definition) object {
	required := []string{"data"}
	if d.Fenced {
		required = append(required, "epoch")
	}
	return object{
		{"name", string(d.Type)},
		{"summary", d.Summary},
		{"contentType", events.ContentType},
		{"headers", object{{"type", "object"}, {"required", []string{"Content-Type", "Nats-Msg-Id"}}, {"properties", object{
			{"Content-Type", object{{"const", events.ContentType}}}, {"Nats-Msg-Id", object{{"type", "string"}, {"description", "source#id"}}},
		}}}},
		{"payload", object{
			{"allOf", []object{
				ref("#/components/schemas/envelope"),
				{{"type", "object"}, {"required", required}, {"properties", object{
					{"type", object{{"const", string(d.Type)}}}, {"dataschema", object{{"const", d.Type.DataSchema()}}}, {"data", ref("./schema/" + d.Type.Name() + ".json")},
				}}},
			}},
		}},
	}
}

func envelope() object {
	text := object{{"type", "string"}, {"minLength", 1}}
	required := []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "region", "traceparent", "correlationid", "causationid"}
	return object{
		{"type", "object"},
		{"required", required},
		{"properties", object{
			{"specversion", object{{"const", "1.0"}}},
			{"id", text}, {"source", object{{"type", "string"}, {"pattern", "^/ofitec/[abc]/[a-z-]+$"}}}, {"type", text}, {"subject", text},
			{"time", object{{"type", "string"}, {"format", "date-time"}}},
			{"datacontenttype", object{{"const", "application/json"}}},
			{"dataschema", text},
			{"region", object{{"enum", []string{"a", "b", "c"}}}},
			{"traceparent", object{{"type", "string"}, {"pattern", "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"}}},
			{"correlationid", text}, {"causationid", text},
			{"epoch", object{{"type", "string"}, {"pattern", "^[0-9]{20}$"}}},
		}},
	}
}
