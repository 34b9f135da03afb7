package dotenv

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// hostile are values that something about an environment file could fall for, and random ones of what is in them.
func hostile() []string {
	values := []string{
		"plain", "a b", "it's", `back\slash`, `$HOME`, `${HOME}`, `x${HOME:-y}z`, "`id`", `"quoted"`, `'`, `it's "$5" \ and \\`, "~", "#hash", "a #b", "a=b", "=", "%41", "%h", "%%", "%n$s", "ñandú", "中文 🔑",
		" edges ", "\ttab", `\`, `"'"`, "!x", "!!", "*", ";id", "&", "a'$b", `end\`, `end\\`, `end\\\`, `'\`, `\n`, `\t'`, `\0123'`, `$$`, `'$$x`, "`\\", `"`, `\"`, `\\n'`, `$(id)`, "$", "a$", `\$`, `{{x}}`, "export A=1",
		`a\\b`, `a\\$b`, "\xff", "a\x00b", "a\nB=1", "a\r", "", "\u00a0", "\x1b[0m", "\\\u00a0'",
	}
	random := rand.New(rand.NewPCG(1, 2))
	letters := []rune(`abXY09 -_.,:;!?@#$%^&*()+=[]{}<>/\|"'~` + "`ñ€🔑\t" + `$\'"#%!=$\'"`)
	for range 400 {
		text := make([]rune, 1+random.IntN(20))
		for i := range text {
			text[i] = letters[random.IntN(len(letters))]
		}
		values = append(values, string(text))
	}
	return values
}

// refusable is what no quotes can hold for all.
func refusable(value string) bool {
	odd := (len(value)-len(strings.TrimRight(value, `\`)))%2 == 1
	return value == "" || strings.ContainsAny(value, "\x00\r\n") || !utf8.ValidString(value) || strings.Contains(value, "`") && (odd || strings.Contains(value, "'"))
}

// TestEveryReaderReadsBackWhatWasWrittenOrItIsRefused asks a shell, docker compose's own parser, systemd's, docker-compose 1 and Read, all at once.
func TestEveryReaderReadsBackWhatWasWrittenOrItIsRefused(t *testing.T) {
	var content bytes.Buffer
	want := map[string]string{}
	refused := 0
	for n, value := range hostile() {
		key := fmt.Sprintf("K%d", n)
		line, err := Change([]byte(key+"=old\n"), Value{key, value})
		if err != nil {
			refused++
			if !strings.Contains(err.Error(), "cannot hold the new "+key) {
				t.Errorf("%q is refused with %v", value, err)
			}
			if !refusable(value) {
				t.Errorf("%q is refused: %v", value, err)
			}
			continue
		}
		if refusable(value) {
			t.Errorf("%q is taken", value)
		}
		content.Write(line)
		want[key] = value
	}
	if refused > len(want)/4 {
		t.Errorf("%d values are refused, %d are not: too many", refused, len(want))
	}
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, got map[string]string) {
		t.Helper()
		for key, value := range want {
			if text, ok := got[key]; !ok || text != value {
				line := content.String()[strings.Index(content.String(), key+"="):]
				line, _, _ = strings.Cut(line, "\n")
				t.Errorf("%q is read as %q (%v) of %s", value, text, ok, line)
			}
		}
	}
	t.Run("a shell", func(t *testing.T) { check(t, readByShell(t, file)) })
	t.Run("docker compose", func(t *testing.T) { check(t, readByCompose(t, content.Bytes())) })
	t.Run("systemd", func(t *testing.T) { check(t, readBySystemd(t, file)) })
	t.Run("docker-compose 1", func(t *testing.T) {
		var lines bytes.Buffer
		all := want
		want = map[string]string{}
		defer func() { want = all }()
		for line := range bytes.Lines(content.Bytes()) {
			key, _, _ := strings.Cut(string(line), "=")
			if misreadByOld(all[key]) == nil { // else it is refused where docker-compose 1 is in use
				lines.Write(line)
				want[key] = all[key]
			}
		}
		if len(want) < len(all)/2 {
			t.Errorf("%d values would be misread, %d would not: too many", len(all)-len(want), len(want))
		}
		t.Logf("of %d values %d would be misread, and are refused where it is in use", len(all), len(all)-len(want))
		old := filepath.Join(t.TempDir(), ".env")
		if err := os.WriteFile(old, lines.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, readByOldCompose(t, old, want))
	})
	t.Run("Read", func(t *testing.T) {
		for key, value := range want {
			if read, err := Read(content.Bytes(), key); err != nil || read[0].Text != value {
				t.Errorf("%q is read as %v, %v", value, read, err)
			}
		}
	})
}

// pairs reads what a program printed as NAME=text, each behind a NUL.
func pairs(out []byte) map[string]string {
	got := map[string]string{}
	for pair := range bytes.SplitSeq(out, []byte{0}) {
		key, text, _ := strings.Cut(string(pair), "=")
		got[key] = text
	}
	return got
}

func readByShell(t *testing.T, file string) map[string]string {
	t.Helper()
	cmd := exec.Command("sh", "-c", "set -a; . ./.env; env -0")
	cmd.Dir = filepath.Dir(file)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the shell: %v", err)
	}
	return pairs(out)
}

// readBySystemd calls what systemd itself reads EnvironmentFile= with, in its library: no systemd runs here.
func readBySystemd(t *testing.T, file string) map[string]string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/systemd/libsystemd-shared-*.so") // the pattern is well formed
	python, err := exec.LookPath("python3")
	if len(found) == 0 || err != nil {
		t.Skip("systemd's library, or python3 to call it with, is not there")
	}
	out, err := exec.Command(python, "-c", `import ctypes, sys
read = ctypes.CDLL(sys.argv[1]).load_env_file
read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.POINTER(ctypes.c_char_p))]
pairs = ctypes.POINTER(ctypes.c_char_p)()
status = read(None, sys.argv[2].encode(), ctypes.byref(pairs))
if status < 0:
    sys.exit("load_env_file: %d" % status)
n = 0
while pairs and pairs[n]:
    sys.stdout.buffer.write(pairs[n] + b"\0")
    n += 1
`, found[0], file).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd's parser: %v: %s", err, out)
	}
	return pairs(out)
}

// readByOldCompose lets docker-compose 1 read the file in both ways: as env_file, and as the .env that its own file is filled in from. They must agree.
func readByOldCompose(t *testing.T, file string, keys map[string]string) map[string]string {
	t.Helper()
	program, err := exec.LookPath("docker-compose")
	if err == nil {
		var version []byte
		version, err = exec.Command(program, "version", "--short").Output()
		if !strings.HasPrefix(string(version), "1.") {
			err = errors.Join(err, fmt.Errorf("it is %s", version))
		}
	}
	if err != nil {
		t.Skipf("docker-compose 1 is not there (apt-get install docker-compose): %v", err)
	}
	type service struct {
		Image       string            `yaml:"image"`
		EnvFile     string            `yaml:"env_file,omitempty"`
		Environment map[string]string `yaml:"environment,omitempty"`
	}
	filled := map[string]string{}
	for key := range keys {
		filled[key] = "${" + key + "}"
	}
	given, err := yaml.Marshal(map[string]any{"version": "3", "services": map[string]service{"file": {Image: "x", EnvFile: ".env"}, "filled": {Image: "x", Environment: filled}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "docker-compose.yml"), given, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "config")
	cmd.Dir = filepath.Dir(file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker-compose config: %v", err)
	}
	var said struct{ Services map[string]service }
	if err := yaml.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for key := range keys {
		text := said.Services["file"].Environment[key]
		if other := said.Services["filled"].Environment[key]; other != text {
			t.Errorf("%s is %q as env_file and %q as .env", key, text, other)
		}
		got[key] = strings.ReplaceAll(text, "$$", "$") // config shows it so that it could be read again
	}
	return got
}

func TestWhatDockerCompose1WouldMisreadIsRefusedWhereItIsInUse(t *testing.T) {
	for text, want := range map[string]string{
		"a${HOME}secret": "${...}, which docker-compose 1 replaces", "secret'$x": "does not read in any quotes", `secret\\x$`: "two backslashes", `secret$\`: "a backslash at its end",
	} {
		file := write(t, "K=old\n", 0o600)
		if _, err := Apply(file, "", Edit{Set: map[string]string{"K": text}, Old: true}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		if content, _ := os.ReadFile(file); string(content) != "K=old\n" {
			t.Errorf("%s: the file was touched: %s", text, content)
		}
		if _, err := Apply(file, "", Edit{Set: map[string]string{"K": text}}); err != nil {
			t.Errorf("%s: %v for those who read it alike", text, err)
		}
	}
}
