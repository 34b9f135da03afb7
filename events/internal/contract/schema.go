// Package contract derives what others read of the events, JSON Schemas and asyncapi.yaml, from the structs and the definitions.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"

	"github.com/ofitec/ofitec/events"
)

// Files is every derived file by its path within the module.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, definition := range events.Definitions {
		text, err := Schema(definition)
		if err != nil {
			return nil, err
		}
		files["schema/"+definition.Type.Name()+".json"] = text
	}
	text, err := AsyncAPI()
	if err != nil {
		return nil, err
	}
	files["asyncapi.yaml"] = text
	return files, nil
}

// Write writes all files under the folder and removes schemas of types that are no more.
func Write(folder string) error {
	files, err := Files()
	if err != nil {
		return err
	}
	for path, text := range files {
		if err := os.WriteFile(filepath.Join(folder, path), text, 0o644); err != nil { //nolint:gosec // published contracts, no secrets
			return fmt.Errorf("write contract: %w", err)
		}
	}
	old, err := filepath.Glob(filepath.Join(folder, "schema", "*.json"))
	if err != nil {
		return fmt.Errorf("list schemas: %w", err)
	}
	for _, path := range old {
		if _, wanted := files["schema/"+filepath.Base(path)]; !wanted {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove schema: %w", err)
			}
		}
	}
	return nil
}

// Schema is the JSON Schema of a payload. It allows unknown fields, since a new optional field keeps the type.
func Schema(definition events.Definition) ([]byte, error) {
	reflector := jsonschema.Reflector{AllowAdditionalProperties: true, ExpandedStruct: true, Anonymous: true, Mapper: pinned}
	schema := reflector.Reflect(definition.New())
	schema.ID = jsonschema.ID(definition.Type.DataSchema())
	schema.Title = string(definition.Type)
	schema.Description = definition.Summary
	orNull(schema)
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema of %s: %w", definition.Type, err)
	}
	return append(bytes.TrimSpace(text), '\n'), nil
}

// orNull lets a reference be null where its tag says so: beside oneOf, $ref would go on to demand the object.
func orNull(schema *jsonschema.Schema) {
	for property := schema.Properties.Oldest(); property != nil; property = property.Next() {
		value := property.Value
		if value.Ref != "" && len(value.OneOf) > 0 {
			value.OneOf, value.Ref = []*jsonschema.Schema{{Ref: value.Ref}, {Type: "null"}}, ""
		}
	}
}

// pinned gives the schema of the values whose Go type says less than their JSON.
func pinned(t reflect.Type) *jsonschema.Schema {
	zero := json.Number("0")
	switch t {
	case reflect.TypeFor[events.Region]():
		return &jsonschema.Schema{Type: "string", Enum: []any{"a", "b", "c", ""}}
	case reflect.TypeFor[events.Epoch]():
		return &jsonschema.Schema{Type: "integer", Minimum: zero}
	case reflect.TypeFor[events.LSN]():
		return &jsonschema.Schema{Type: "string", Pattern: "^[0-9A-F]{1,8}/[0-9A-F]{1,8}$"}
	case reflect.TypeFor[events.Outcome]():
		return enum(events.OutcomeOK, events.OutcomeFailed, events.OutcomeUnknown)
	case reflect.TypeFor[events.CredentialKind]():
		return enum(events.CredentialKinds...)
	case reflect.TypeFor[events.Cause]():
		return enum(events.Causes...)
	}
	return nil
}

func enum[T ~string](values ...T) *jsonschema.Schema {
	schema := &jsonschema.Schema{Type: "string"}
	for _, value := range slices.Clone(values) {
		schema.Enum = append(schema.Enum, string(value))
	}
	return schema
}
