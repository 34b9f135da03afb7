package rows

import (
	"errors"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/models"
)

var crane = models.Dataset{Name: "crane", Key: "id", Columns: []models.Column{
	{Name: "id", Type: models.Type{Kind: models.Integer}}, {Name: "name", Type: models.Type{Kind: models.Text}}, {Name: "driver", Type: models.Type{Kind: models.Text}, PII: models.Email},
}}

// letters is a token that can be read.
type letters struct{ err error }

func (l letters) Token(kind models.PII, value string) (string, error) {
	return string(kind) + "_" + strings.ToUpper(value), l.err
}

func TestWhatARawFileBecomes(t *testing.T) {
	for _, c := range []struct {
		sentence, format, in, out string
		rejects                   []Reject
		unknown                   string
		multiline                 bool
	}{
		{sentence: "columns are found by their names, in any order; those that are not there are empty", in: "name,id\r\nbig,1\r\n", out: "7,3,2,\"1\",\"big\",\n"},
		{sentence: "a byte order mark is no part of a name", in: "\xef\xbb\xbfid\n1\n", out: "7,3,2,\"1\",,\n"},
		{sentence: "personal data become tokens, nothing stays nothing", in: "id,driver\n1,a@b.cl\n2,\n3,false\n", out: "7,3,2,\"1\",,\"email_A@B.CL\"\n8,3,3,\"2\",,\n9,3,4,\"3\",,\n"},
		{sentence: "quotes and line ends in a value stay, and its line is where it begins", in: "id,name\n1,\"a \"\"b\"\"\nc\"\n2,d\n", out: "7,3,2,\"1\",\"a \"\"b\"\"\nc\",\n8,3,4,\"2\",\"d\",\n", multiline: true},
		{sentence: "a record with other fields than the header is rejected, the next one is not", in: "id,name\n1\n2,b\n", out: "7,3,3,\"2\",\"b\",\n", rejects: []Reject{{2, "has 1 fields, the header has 2"}}},
		{sentence: "a body that ends within a value is rejected from there", in: "id,name\n1,a\n2,\"b", out: "7,3,2,\"1\",\"a\",\n", rejects: []Reject{{3, `is not CSV: extraneous or missing " in quoted-field`}}},
		{sentence: "text that is not UTF-8 is rejected", in: "id,name\n1,\xe9\n2,b\n", out: "7,3,3,\"2\",\"b\",\n", rejects: []Reject{{2, "column name is not UTF-8 text"}}},
		{sentence: "columns that the dataset does not have are told", in: "id,colour\n1,red\n", out: "7,3,2,\"1\",,\n", unknown: "colour"},
		{sentence: "an empty file has nothing", in: "", out: ""},
		{sentence: "objects are read as they stand, numbers with all their digits", format: "ndjson", in: "{\"id\":1,\"name\":null}\n\n{\"id\":12345678901234567890.10,\"driver\":\"x\",\"age\":7}\n",
			out: "7,3,1,\"1\",,\n8,3,3,\"12345678901234567890.10\",,\"email_X\"\n", unknown: "age"},
		{sentence: "a line that is no object is rejected", format: "ndjson", in: "{\"id\":1\n[1]\n{\"id\":2} {}\n{\"id\":true}\n", out: "7,3,4,\"true\",,\n",
			rejects: []Reject{{1, "is not one object of JSON"}, {2, "is not one object of JSON"}, {3, "is not one object of JSON"}}},
		{sentence: "a record that is too long is rejected", in: "id,name\n1," + strings.Repeat("x", maxRecord) + "\n2,b\n", out: "7,3,3,\"2\",\"b\",\n", rejects: []Reject{{2, "is longer than 2000000 bytes"}}},
	} {
		var out strings.Builder
		w := NewWriter(&out, crane, letters{}, 7)
		s, err := w.File(strings.NewReader(c.in), c.format, 3)
		if err != nil {
			t.Errorf("%s: %v", c.sentence, err)
			continue
		}
		if err := w.Flush(); err != nil || out.String() != c.out {
			t.Errorf("%s: is\n%s\nwant\n%s", c.sentence, out.String(), c.out)
		}
		if w.next != 7+s.Records || s.Rejected != int64(len(c.rejects)) || strings.Join(s.Unknown, " ") != c.unknown || s.Multiline != c.multiline {
			t.Errorf("%s: summary is %+v", c.sentence, s)
		}
		for i, reject := range s.Rejects {
			if i < len(c.rejects) && reject != c.rejects[i] {
				t.Errorf("%s: reject is %+v, want %+v", c.sentence, reject, c.rejects[i])
			}
		}
	}
}

func TestRecordsWithAValueInAColumnThatIsNotNamedAreDiscardedWhereTheDatasetSaysSo(t *testing.T) {
	strict := crane
	strict.Drift = models.DiscardRow
	for format, in := range map[string]string{
		"csv":    "id,colour,name\n1,red,a\n2,,b\n3,false,c\n",
		"ndjson": `{"id":1,"colour":"red","name":"a"}` + "\n" + `{"id":2,"name":"b"}` + "\n" + `{"id":3,"colour":false,"name":"c"}` + "\n",
	} {
		for drift, want := range map[models.Drift]int64{models.DiscardRow: 2, models.Evolve: 3} {
			strict.Drift = drift
			w := NewWriter(&strings.Builder{}, strict, letters{}, 0)
			s, err := w.File(strings.NewReader(in), format, 0)
			if err != nil || s.Records != want || s.Rejected != 3-want {
				t.Errorf("%s, %s: %+v, %v", format, drift, s, err)
			}
			if drift == models.DiscardRow && (len(s.Rejects) != 1 || !strings.Contains(s.Rejects[0].Reason, `column "colour"`)) {
				t.Errorf("%s: %+v", format, s.Rejects)
			}
		}
	}
}

func TestATokenThatCannotBeMadeStopsTheFile(t *testing.T) {
	broken := errors.New("no key")
	w := NewWriter(&strings.Builder{}, crane, letters{broken}, 0)
	if _, err := w.File(strings.NewReader("id,driver\n1,x\n"), "csv", 0); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
}

func TestWhatAnExportWritesForNothing(t *testing.T) {
	for _, c := range []struct {
		kind     models.Kind
		in, want string
	}{
		{models.Text, "false", ""}, {models.Text, "False", ""}, {models.Text, "FALSE", "FALSE"}, {models.Text, " ", " "}, {models.Integer, " false ", ""}, {models.Integer, " 7", "7"},
		{models.Enum, "False", ""}, {models.Date, "false", ""}, {models.Decimal, "\t", ""}, {models.Boolean, " False ", "False"}, {models.Boolean, "", ""}, {models.Timestamp, "FALSE", ""},
	} {
		if have := given(c.kind, c.in); have != c.want {
			t.Errorf("%s %q is %q, want %q", c.kind, c.in, have, c.want)
		}
	}
}
