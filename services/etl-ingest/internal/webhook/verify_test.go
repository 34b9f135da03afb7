package webhook

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func TestOnlyWhatOdooHasSignedIsTaken(t *testing.T) {
	body := []byte(`{"dataset":"invoice"}`)
	signed := Sign(body, "the secret", noon)
	later := Sign(body, "the next secret", noon)
	secrets := []string{"the next secret", "the secret"}
	for name, c := range map[string]struct {
		header  string
		body    string
		secrets []string
		now     time.Time
		good    bool
	}{
		"the secret":                        {signed, string(body), secrets, noon, true},
		"the next secret in the overlap":    {later, string(body), secrets, noon.Add(time.Minute), true},
		"both signatures":                   {signed + ",v1=" + strings.Split(later, "v1=")[1], string(body), secrets[:1], noon, true},
		"the old secret after the overlap":  {signed, string(body), []string{"the next secret", ""}, noon, false},
		"another body":                      {signed, `{"dataset":"payment"}`, secrets, noon, false},
		"another time":                      {strings.Replace(signed, "t=1", "t=2", 1), string(body), secrets, noon, false},
		"an old one":                        {signed, string(body), secrets, noon.Add(Tolerance + time.Second), false},
		"one from the future":               {signed, string(body), secrets, noon.Add(-Tolerance - time.Second), false},
		"none":                              {"", string(body), secrets, noon, false},
		"no time":                           {"v1=00", string(body), secrets, noon, false},
		"no secret, and one made with none": {Sign(body, "", noon), string(body), []string{"", ""}, noon, false},
		"something else":                    {"t=x,v1=zz,,=", string(body), secrets, noon, false},
	} {
		if err := Verify(c.header, []byte(c.body), c.secrets, c.now); (err == nil) != c.good || err != nil && !errors.Is(err, ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAnnouncementNamesDatasetsThatThereAre(t *testing.T) {
	known := []string{"invoice", "payment"}
	for body, want := range map[string]string{
		`{"dataset":"invoice"}`:               "invoice",
		`{"datasets":["payment","invoice"]}`:  "payment invoice",
		`{"dataset":"all","note":"whatever"}`: "invoice payment",
		`{"dataset":"Invoice"}`:               `dataset "Invoice" is not one of invoice, payment`,
		`{}`:                                  "dataset is missing",
		`invoice`:                             "the body is not JSON",
	} {
		got, err := Read([]byte(body), known)
		said := strings.Join(got, " ")
		if err != nil {
			said = err.Error()
		}
		if !strings.HasPrefix(said, want) {
			t.Errorf("%s: %s", body, said)
		}
	}
}
