package page

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

// A browser that learns of a module only from the one that imports it asks for them one after the other.
func TestThePageNamesEveryModuleBeforehand(t *testing.T) {
	page := string(served["index.html"].content)
	named := map[string]bool{}
	for name, file := range served {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, found := range regexp.MustCompile(`(?m)^import .* from "(/assets/[^"]+)";`).FindAllSubmatch(file.content, -1) {
			named[string(found[1])] = true
		}
	}
	if len(named) < 5 {
		t.Fatalf("only %d modules are imported", len(named))
	}
	for module := range named {
		if !strings.Contains(page, `<link rel="modulepreload" href="`+module+`">`) {
			t.Errorf("index.html does not name %s", module)
		}
	}
}
