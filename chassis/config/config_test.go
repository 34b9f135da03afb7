package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
)

type Base struct {
	Region string     `env:"TEST_REGION" yaml:"region" doc:"where"`
	Level  slog.Level `env:"TEST_LEVEL" yaml:"level" doc:"how much | is said"`
}

type sample struct {
	Base     `yaml:",inline"`
	Interval time.Duration `env:"TEST_INTERVAL" yaml:"interval" doc:"how often"`
	Servers  []string      `env:"TEST_SERVERS" yaml:"servers" doc:"which"`
	Limits   struct {
		Tries int `env:"TEST_TRIES" yaml:"tries" doc:"how many"`
	} `yaml:"limits"`
	Token config.Secret `env:"TEST_TOKEN" yaml:"-" doc:"a secret"`
}

func (s sample) Problems() []error {
	return config.Require("TEST_REGION", s.Region, "a region")
}

func newSample() *sample {
	s := &sample{Interval: 5 * time.Second}
	s.Region = "a"
	s.Limits.Tries = 3
	return s
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// problems loads and gives all complaints, one a line.
func problems(t *testing.T, aliases ...config.Alias) string {
	t.Helper()
	var wrong *config.Error
	if err := config.Load(newSample(), aliases...); !errors.As(err, &wrong) {
		t.Fatalf("want a *config.Error, got %v", err)
	}
	return wrong.Error()
}

func TestTheEnvironmentOutranksTheFileAndTheFileTheDefaults(t *testing.T) {
	t.Setenv(config.FileVariable, file(t, "region: b\ninterval: 7s\nlimits:\n  tries: 4\nlevel: debug\n"))
	t.Setenv("TEST_REGION", "c")
	t.Setenv("TEST_SERVERS", "x,y")
	s := newSample()
	if err := config.Load(s); err != nil {
		t.Fatal(err)
	}
	if s.Region != "c" || s.Interval != 7*time.Second || s.Limits.Tries != 4 || s.Level != slog.LevelDebug || fmt.Sprint(s.Servers) != "[x y]" {
		t.Errorf("%+v", s)
	}
}

func TestDefaultsStayWhereNothingIsSaid(t *testing.T) {
	t.Setenv("TEST_TRIES", "")
	s := newSample()
	if err := config.Load(s); err != nil {
		t.Fatal(err)
	}
	if s.Limits.Tries != 3 || s.Interval != 5*time.Second {
		t.Errorf("%+v", s)
	}
}

func TestAllProblemsComeAtOnceEachWithVariableValueAndWhatWouldBeRight(t *testing.T) {
	t.Setenv(config.FileVariable, file(t, "region: \"\"\nintervall: 7s\nlimits:\n  tries: many\n"))
	t.Setenv("TEST_INTERVAL", "soon")
	t.Setenv("TEST_LEVEL", "loud")
	got := problems(t)
	for _, want := range []string{
		`line 2: unknown field "intervall"`,
		"line 4: cannot unmarshal",
		`TEST_INTERVAL="soon": want a duration such as`,
		`TEST_LEVEL="loud": want debug, info, warn or error`,
		"TEST_REGION is not set: want a region",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestAMissingOrBrokenFileIsOneProblemThatNamesIt(t *testing.T) {
	t.Setenv(config.FileVariable, "/nowhere/at.yml")
	if got := problems(t); !strings.Contains(got, `OFITEC_CONFIG="/nowhere/at.yml"`) {
		t.Error(got)
	}
	for _, content := range []string{"region: [", "a: 1\n---\nb: 2\n", "region: a\n---\nregion: b\n"} {
		t.Setenv(config.FileVariable, file(t, content))
		if got := problems(t); !strings.Contains(got, "OFITEC_CONFIG=") {
			t.Error(got)
		}
	}
	t.Setenv(config.FileVariable, file(t, "# nothing yet\n"))
	if err := config.Load(newSample()); err != nil {
		t.Error(err)
	}
}

func TestASecretComesFromAFileOrAVariableButNotFromBoth(t *testing.T) {
	path := file(t, "hush\n")
	t.Setenv("TEST_TOKEN_FILE", path)
	s := newSample()
	if err := config.Load(s); err != nil || s.Token.Reveal() != "hush" {
		t.Fatalf("%q, %v", s.Token.Reveal(), err)
	}
	t.Setenv("TEST_TOKEN", "hush")
	if got := problems(t); !strings.Contains(got, "only one of TEST_TOKEN and TEST_TOKEN_FILE") {
		t.Error(got)
	}
	t.Setenv("TEST_TOKEN", "")
	t.Setenv("TEST_TOKEN_FILE", file(t, "\n"))
	if got := problems(t); !strings.Contains(got, "a file that is not empty") {
		t.Error(got)
	}
	t.Setenv("TEST_TOKEN_FILE", "/nowhere")
	if got := problems(t); !strings.Contains(got, `TEST_TOKEN_FILE="/nowhere"`) {
		t.Error(got)
	}
}

func TestASecretInTheYAMLFileIsRefused(t *testing.T) {
	t.Setenv(config.FileVariable, file(t, "token: hush\n"))
	if got := problems(t); !strings.Contains(got, `unknown field "token"`) || strings.Contains(got, "hush") {
		t.Error(got)
	}
}

func TestAnEarlierNameIsTakenWithANoteAndRefusedWhenItContradicts(t *testing.T) {
	aliases := []config.Alias{{Old: "REGION", New: "TEST_REGION"}, {Old: "OLD_TOKEN", New: "TEST_TOKEN"}, {Old: "ELSEWHERE", New: "TEST_NOT_HERE"}}
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewJSONHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	t.Setenv("ELSEWHERE", "ignored")
	t.Setenv("REGION", "b")
	t.Setenv("OLD_TOKEN_FILE", file(t, "hush"))
	s := newSample()
	if err := config.Load(s, aliases...); err != nil || s.Region != "b" || s.Token.Reveal() != "hush" {
		t.Fatalf("%+v, %v", s, err)
	}
	if !strings.Contains(log.String(), "REGION") || strings.Contains(log.String(), "hush") {
		t.Errorf("log %s", log.String())
	}
	t.Setenv("TEST_REGION", "b")
	if err := config.Load(newSample(), aliases...); err != nil {
		t.Errorf("the same in both: %v", err)
	}
	t.Setenv("TEST_REGION", "c")
	t.Setenv("TEST_TOKEN", "other")
	got := problems(t, aliases...)
	if !strings.Contains(got, `REGION="b": want only one of REGION and TEST_REGION`) || !strings.Contains(got, "OLD_TOKEN") {
		t.Error(got)
	}
	if strings.Contains(got, "hush") || strings.Contains(got, "other") {
		t.Errorf("a secret is printed: %s", got)
	}
}

func TestAnEarlierNameThatContradictsTheFileIsRefused(t *testing.T) {
	aliases := []config.Alias{{Old: "REGION", New: "TEST_REGION"}, {Old: "TRIES", New: "TEST_TRIES"}, {Old: "EVERY", New: "TEST_INTERVAL"}, {Old: "OLD_TOKEN", New: "TEST_TOKEN"}}
	t.Setenv(config.FileVariable, file(t, "region: b\ninterval: 60s\nlimits:\n  tries: 4\n"))
	t.Setenv("REGION", "b")
	t.Setenv("TRIES", "4")
	t.Setenv("EVERY", "1m")
	t.Setenv("OLD_TOKEN", "hush")
	if err := config.Load(newSample(), aliases...); err != nil {
		t.Errorf("the same in both: %v", err)
	}
	t.Setenv("REGION", "c")
	t.Setenv("TRIES", "5")
	got := problems(t, aliases...)
	for _, want := range []string{
		`REGION="c": want only one of REGION and region in the file of OFITEC_CONFIG, or the same in both`,
		`TRIES="5": want only one of TRIES and limits.tries in the file of OFITEC_CONFIG, or the same in both`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	t.Setenv("TEST_REGION", "c") // the name of today outranks the file, and the earlier one agrees with it
	t.Setenv("TRIES", "")
	if err := config.Load(newSample(), aliases...); err != nil {
		t.Errorf("today's name: %v", err)
	}
	t.Setenv("TEST_REGION", "")
	t.Setenv(config.FileVariable, file(t, "interval: 60s\n"))
	if err := config.Load(newSample(), aliases...); err != nil {
		t.Errorf("a default that differs: %v", err)
	}
}

func TestASecretIsNeverWrittenOut(t *testing.T) {
	s := newSample()
	s.Token = "hush"
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", s.Token)
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", *s, *s, *s, s.Token, s.Token), string(encoded), log.String()} {
		if strings.Contains(text, "hush") {
			t.Error(text)
		}
	}
}

func TestTheReferenceHasEveryVariableWithItsDefault(t *testing.T) {
	got := config.Reference(newSample(), config.Alias{Old: "REGION", New: "TEST_REGION"}, config.Alias{Old: "ELSEWHERE", New: "TEST_NOT_HERE"})
	for _, want := range []string{
		"| `TEST_REGION` | `region` | text | `a` | where |",
		"| `TEST_LEVEL` | `level` | debug, info, warn or error | `INFO` | how much \\| is said |",
		"| `TEST_INTERVAL` | `interval` | a duration such as 500ms, 30s or 5m | `5s` | how often |",
		"| `TEST_TRIES` | `limits.tries` | a whole number | `3` | how many |",
		"| `TEST_TOKEN` or `TEST_TOKEN_FILE` |  | text |  | a secret |",
		"| `REGION` | | | | earlier name of `TEST_REGION` |",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if strings.Contains(got, "ELSEWHERE") {
		t.Error("an alias of a variable that is not there")
	}
}
