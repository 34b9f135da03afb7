package events_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/example"
	"github.com/ofitec/ofitec/events/internal/contract"
)

var update = flag.Bool("update", false, "write the golden files; review the diff")

func TestSchemasAndAsyncAPIAreWhatTheStructsSay(t *testing.T) {
	files, err := contract.Files()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from the structs (%v): run go generate in events", path, err)
		}
	}
	present, _ := filepath.Glob("schema/*.json")
	if len(present) != len(events.Definitions) {
		t.Errorf("%d schemas for %d types", len(present), len(events.Definitions))
	}
}

func TestGoldenEventsAreWhatIsPublishedAndFitTheirSchemas(t *testing.T) {
	for _, payload := range example.Payloads() {
		_, data := encoded(t, payload)
		path := filepath.Join("testdata", "golden", payload.Type().Name()+".json")
		var text bytes.Buffer
		if err := json.Indent(&text, data, "", "  "); err != nil {
			t.Fatal(err)
		}
		text.WriteByte('\n')
		if *update {
			if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(golden, text.Bytes()) {
			t.Errorf("%s is not what is published now (%v)", path, err)
		}
		fits(t, path, golden)
	}
}

// fits checks an event against the schema of its type.
func fits(t *testing.T, path string, text []byte) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	envelope := document.(map[string]any)
	name := events.Type(envelope["type"].(string)).Name()
	if err := schema(t, name).Validate(envelope["data"]); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled, err := compiler.Compile(filepath.Join("schema", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestASchemaRefusesWhatIsNotItsPayload(t *testing.T) {
	for _, definition := range events.Definitions {
		if err := schema(t, definition.Type.Name()).Validate(map[string]any{}); err == nil {
			t.Errorf("the schema of %s accepts an empty object", definition.Type)
		}
	}
}

// TestReleasedEventsStayReadable fails when a released file is changed, removed or added without its checksum, or cannot be read any more.
// A released version is a promise: a new one gets a folder of its own.
func TestReleasedEventsStayReadable(t *testing.T) {
	list, err := os.Open("testdata/released/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	listed := map[string]bool{}
	for lines := bufio.NewScanner(list); lines.Scan(); {
		sum, path, found := strings.Cut(lines.Text(), "  ")
		if !found {
			t.Fatalf("line %q is not a checksum and a path", lines.Text())
		}
		listed[path] = true
		released(t, filepath.Join("testdata/released", path), sum)
	}
	present, _ := filepath.Glob("testdata/released/v*/*.json")
	for _, path := range present {
		if name := strings.TrimPrefix(filepath.ToSlash(path), "testdata/released/"); !listed[name] {
			t.Errorf("%s has no checksum in SHA256SUMS", name)
		}
	}
	if len(listed) < 30 {
		t.Errorf("only %d released files are listed, version 1 had 30", len(listed))
	}
}

func released(t *testing.T, path, sum string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("a released file is gone: %v", err)
		return
	}
	digest := sha256.Sum256(text)
	if hex.EncodeToString(digest[:]) != sum {
		t.Errorf("%s was changed after its release", path)
	}
	event, err := events.Decode(text)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	if _, err := event.Payload(); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	fits(t, path, text)
}

func TestAsyncAPIRefersOnlyToWhatIsThere(t *testing.T) {
	text, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	if document["asyncapi"] != "3.0.0" {
		t.Errorf("version is %v", document["asyncapi"])
	}
	if n := follow(t, document, document); n < 4*len(events.Definitions) {
		t.Errorf("only %d references", n)
	}
}

// follow resolves every $ref under the node and counts them.
func follow(t *testing.T, document map[string]any, node any) int {
	t.Helper()
	count := 0
	switch node := node.(type) {
	case map[string]any:
		if target, ok := node["$ref"].(string); ok {
			resolve(t, document, target)
			return 1
		}
		for _, child := range node {
			count += follow(t, document, child)
		}
	case []any:
		for _, child := range node {
			count += follow(t, document, child)
		}
	}
	return count
}

func resolve(t *testing.T, document map[string]any, target string) {
	t.Helper()
	if path, local := strings.CutPrefix(target, "#/"); local {
		var at any = document
		for _, name := range strings.Split(path, "/") {
			node, _ := at.(map[string]any)
			if at = node[name]; at == nil {
				t.Errorf("%s leads nowhere", target)
				return
			}
		}
		return
	}
	if _, err := os.Stat(target); err != nil {
		t.Errorf("%s leads nowhere", target)
	}
}
