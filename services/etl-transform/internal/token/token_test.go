package token

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/models"
)

func sealer(t *testing.T, letter string) *Sealer {
	t.Helper()
	s, err := New(bytes.Repeat([]byte(letter), LeastKey))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWaysOfWritingTheSameMakeTheSameToken(t *testing.T) {
	s := sealer(t, "k")
	for kind, same := range map[models.PII][]string{
		models.RUT:   {"60.803.000-K", "60803000k", " 60803000-k ", "060.803.000-K", "CL60803000K"},
		models.Email: {"Ana@Example.cl", " ana@example.CL"},
		models.Phone: {"+56 9 1234 5678", "912345678", "0056912345678", "56 9 1234-5678"},
	} {
		want, err := s.Token(kind, same[0])
		if err != nil || !strings.HasPrefix(want, string(kind)+"_") {
			t.Fatalf("token of %q is %q: %v", same[0], want, err)
		}
		for _, value := range same[1:] {
			if have, _ := s.Token(kind, value); have != want {
				t.Errorf("%s %q is %q normalised, %q is %q", kind, value, Normal(kind, value), same[0], Normal(kind, same[0]))
			}
		}
	}
}

func TestATokenTellsNothingWithoutTheKeyAndAllWithIt(t *testing.T) {
	s := sealer(t, "k")
	token, err := s.Token(models.RUT, "12.345.678-5")
	if err != nil {
		t.Fatal(err)
	}
	if value, err := s.Reveal(models.RUT, token); err != nil || value != "12345678-5" {
		t.Errorf("behind it is %q: %v", value, err)
	}
	if _, err := sealer(t, "j").Reveal(models.RUT, token); err == nil {
		t.Error("another key opens it")
	}
	if _, err := s.Reveal(models.Phone, "phone_"+strings.TrimPrefix(token, "rut_")); err == nil {
		t.Error("it opens as another kind")
	}
	if other, _ := s.Token(models.Phone, "12345678-5"); strings.TrimPrefix(other, "phone_") == strings.TrimPrefix(token, "rut_") {
		t.Error("two kinds share a token")
	}
	if sealer(t, "j").Version() == s.Version() {
		t.Error("two keys have one version")
	}
	if empty, err := s.Token(models.Email, "  "); empty != "" || err != nil {
		t.Errorf("token of nothing is %q: %v", empty, err)
	}
}

func TestTheCheckDigitOfARUT(t *testing.T) {
	for value, want := range map[string]bool{
		"12.345.678-5": true, "15.509.661-6": true, "60.803.000-K": true, "60.803.000-k": true, "76.000.000-0": true,
		"12.345.678-6": false, "": false, "K": false, "1-": false, "abc-1": false, "1234567890-1": false,
	} {
		if have := ValidRUT(value); have != want {
			t.Errorf("%q is valid: %t, want %t", value, have, want)
		}
	}
}

func TestAKeyThatIsTooShortIsRefused(t *testing.T) {
	if _, err := New([]byte("short")); err == nil || !strings.Contains(err.Error(), "it has 5 bytes, want 32 or more") {
		t.Errorf("error is %v", err)
	}
}
