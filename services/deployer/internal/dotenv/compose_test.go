package dotenv

import (
	"testing"

	compose "github.com/compose-spec/compose-go/v2/dotenv"
)

// readByCompose reads a file as docker compose does for env_file and .env: by its own parser, with variables of the shell that it could fall for.
func readByCompose(t *testing.T, content []byte) map[string]string {
	t.Helper()
	values, err := compose.UnmarshalBytesWithLookup(content, func(string) (string, bool) { return "replaced", true })
	if err != nil {
		t.Errorf("docker compose cannot read %q: %v", content, err)
	}
	return values
}

func TestDockerComposeLeavesWhatItReadsOfTheOtherLinesAlone(t *testing.T) {
	content := []byte("A=1\nPOSTGRES_USER=old\nTEXT='two\nlines'\nPOSTGRES_PASSWORD=\"old\"\n# end\n")
	got, err := Change(content, both...)
	if err != nil {
		t.Fatal(err)
	}
	before, after := readByCompose(t, content), readByCompose(t, got)
	before["POSTGRES_USER"], before["POSTGRES_PASSWORD"] = both[0].Text, both[1].Text
	if len(before) != len(after) {
		t.Errorf("it read %v, and now %v", before, after)
	}
	for key, value := range before {
		if after[key] != value {
			t.Errorf("%s is %q, want %q", key, after[key], value)
		}
	}
}
