package local

import (
	"strings"
	"testing"

	"github.com/ofitec/ofitec/deploy"
)

func TestAnEnvironmentFileGetsTheLinesThatItLacksAndKeepsAllOthers(t *testing.T) {
	t.Parallel()
	lines := []string{"# for people", "POSTGRES_USER=odoo_bootstrap", "ODOO_MASTER_PASSWORD=of this start"}
	if got, want := string(withLines(nil, lines)), strings.Join(lines, "\n")+"\n"; got != want {
		t.Errorf("the first file is %q, want %q", got, want)
	}
	const have = "# of an earlier version\nPOSTGRES_USER=v-odoo-app-1\nMINE=1"
	if got, want := string(withLines([]byte(have), lines)), have+"\nODOO_MASTER_PASSWORD=of this start\n"; got != want {
		t.Errorf("an earlier file becomes %q, want %q", got, want)
	}
	const whole = have + "\nODOO_MASTER_PASSWORD='brought by the deployer'\n"
	if got := string(withLines([]byte(whole), lines)); got != whole {
		t.Errorf("a whole file becomes %q", got)
	}
}

func TestTheRendererMayChangeWhatIsRolledOutAndNothingElse(t *testing.T) {
	t.Parallel()
	rollout, err := deploy.Rollout()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split(renderKeys, ",") {
		own := strings.HasPrefix(key, "POSTGRES_") // of kind database, whose usual keys go without saying
		if !own && !strings.Contains(string(rollout), key+": ") {
			t.Errorf("the renderer may change %s, which nobody rolls out", key)
		}
	}
	for line := range strings.Lines(string(rollout)) {
		_, keys, found := strings.Cut(line, "keys: {")
		for pair := range strings.SplitSeq(keys, ",") {
			key, _, _ := strings.Cut(strings.TrimSpace(pair), ":")
			if found && !strings.Contains(","+renderKeys+",", ","+key+",") {
				t.Errorf("%s is rolled out, and the renderer may not change it", key)
			}
		}
	}
}
