package seal

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"filippo.io/age"
)

func newKey(t *testing.T) string {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return key.String() + "\n"
}

func ring(t *testing.T, text string) *Keys {
	t.Helper()
	keys, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func sealed(t *testing.T, k *Keys, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := k.Seal(&out)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func opened(k *Keys, file []byte) (string, error) {
	plain, err := k.Open(bytes.NewReader(file))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(plain)
	return string(text), err
}

func TestTheFirstKeyEncryptsAndAllOpen(t *testing.T) {
	before, after := newKey(t), newKey(t)
	old := sealed(t, ring(t, "# 2026\n"+before), "12.345.678-5")
	if bytes.Contains(old, []byte("12.345.678-5")) {
		t.Fatal("the text stands in the file")
	}
	both := ring(t, after+before)
	fresh := sealed(t, both, "new")
	for file, want := range map[string]string{string(old): "12.345.678-5", string(fresh): "new"} {
		if got, err := opened(both, []byte(file)); err != nil || got != want {
			t.Errorf("both keys: %q, %v", got, err)
		}
	}
	if got, err := opened(ring(t, after), fresh); err != nil || got != "new" {
		t.Errorf("the new key alone: %q, %v", got, err)
	}
	if _, err := opened(ring(t, after), old); err == nil || !strings.Contains(err.Error(), "missing from the ring") {
		t.Errorf("a file of a key that is gone: %v", err)
	}
}

func TestAFileThatWasChangedOrCutOffIsAnError(t *testing.T) {
	keys := ring(t, newKey(t))
	whole := sealed(t, keys, strings.Repeat("x", 200_000))
	changed := bytes.Clone(whole)
	changed[len(changed)-100] ^= 1
	for name, file := range map[string][]byte{"changed": changed, "cut off": whole[:len(whole)-40_000], "within the header": whole[:20]} {
		if _, err := opened(keys, file); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestWhatIsNoKeyIsRefusedAndNotRepeated(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "hunter2\n", "AGE-SECRET-KEY-1WRONG\n"} {
		if _, err := Parse(text); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "WRONG") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
