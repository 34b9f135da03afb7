package events

import "embed"

//go:embed schema/*.json
var schemas embed.FS

// Schema is the JSON Schema of a type's payload, as its dataschema names it; false for a type that this version does not know.
func Schema(t Type) ([]byte, bool) {
	if _, known := Lookup(t); !known {
		return nil, false
	}
	text, err := schemas.ReadFile("schema/" + t.Name() + ".json")
	return text, err == nil
}
