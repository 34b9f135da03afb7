package rows

import "testing"

func TestRowsWithAValueAreTakenOutAndNothingElseChanges(t *testing.T) {
	for sentence, c := range map[string]struct {
		format, content, rest string
		gone                  int64
	}{
		"CSV with line ends of both kinds, quotes and a mark":                  {"csv", "\xef\xbb\xbfid,partner_id,note\r\n1,7,\"a\nb\"\r\n2,42,\"x,\"\"y\"\"\n7\"\n3, 42.0 ,\n\n4,8,42\n", "\xef\xbb\xbfid,partner_id,note\r\n1,7,\"a\nb\"\r\n\n4,8,42\n", 2},
		"a row with a field too many is no row: it goes when it has the value": {"csv", "id,partner_id\n1,7,8\n2,42,8\n5,6,42\n", "id,partner_id\n1,7,8\n", 2},
		"a row that is not CSV goes when the value stands in it":               {"csv", "id,partner_id\n1,x\"42\n2,y\"8\n3,9\n", "id,partner_id\n2,y\"8\n3,9\n", 1},
		"the last row without a line's end":                                    {"csv", "id,partner_id\n1,7\n2,42", "id,partner_id\n1,7\n", 1},
		"the value in another column stays":                                    {"csv", "id,partner_id\n42,7\n", "id,partner_id\n42,7\n", 0},
		"no such column":                                                       {"csv", "id,note\n1,42\n", "id,note\n1,42\n", 0},
		"objects":                                                              {"ndjson", "{\"id\":1,\"partner_id\":42}\n{\"id\":2,\"partner_id\":7,\"note\":\"42\"}\nnone 42\n{\"id\":3,\"partner_id\":\"42\"}", "{\"id\":2,\"partner_id\":7,\"note\":\"42\"}\n", 3},
	} {
		rest, gone, err := Without([]byte(c.content), c.format, "partner_id", "42")
		if err != nil || string(rest) != c.rest || gone != c.gone {
			t.Errorf("%s: %d are gone, want %d: %q, want %q: %v", sentence, gone, c.gone, rest, c.rest, err)
		}
	}
}
