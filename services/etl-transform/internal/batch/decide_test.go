package batch

import (
	"strconv"
	"strings"
	"testing"

	"github.com/ofitec/ofitec/events"
)

// waiting reads "<sequence>:<batch>:<sha>:<bytes>".
func waiting(words ...string) []Announced {
	var all []Announced
	for _, word := range words {
		var a Announced
		part := strings.Split(word, ":")
		a.Ready.Sequence, _ = strconv.ParseInt(part[0], 10, 64) // the cases below are numbers
		a.Ready.Bytes, _ = strconv.ParseInt(part[3], 10, 64)
		a.Ready.Dataset, a.Ready.Batch, a.Ready.SHA256 = "invoice", part[1], part[2]
		all = append(all, a)
	}
	return all
}

func names(list []Announced) string {
	var all []string
	for _, a := range list {
		all = append(all, a.Ready.Batch)
	}
	return strings.Join(all, " ")
}

func TestWhatMakesTheNextTransaction(t *testing.T) {
	limits := Limits{Files: 3, Bytes: 100}
	for _, c := range []struct {
		sentence                   string
		waiting                    []Announced
		ledger                     map[ID]string
		load, done, later, changed string
	}{
		{sentence: "files go in by their place in the manifest, whatever came first", waiting: waiting("3:c:x:1", "1:a:x:1", "2:b:x:1"), load: "a b c"},
		{sentence: "what is in is done", waiting: waiting("1:a:x:1", "2:b:x:1"), ledger: map[ID]string{{"invoice", "a"}: "x"}, load: "b", done: "a"},
		{sentence: "a file that was told twice is loaded once", waiting: waiting("1:a:x:1", "1:a:x:1"), load: "a", done: "a"},
		{sentence: "a batch that was told with other content is loaded by nobody", waiting: waiting("1:a:y:1"), ledger: map[ID]string{{"invoice", "a"}: "x"}, changed: "a"},
		{sentence: "the rest waits when there are enough files", waiting: waiting("1:a:x:1", "2:b:x:1", "3:c:x:1", "4:d:x:1"), load: "a b c", later: "d"},
		{sentence: "the rest waits when there are enough bytes", waiting: waiting("1:a:x:60", "2:b:x:60", "3:c:x:40"), load: "a c", later: "b"},
		{sentence: "a file larger than the limit goes alone", waiting: waiting("1:a:x:1000", "2:b:x:1"), load: "a", later: "b"},
		{sentence: "nothing waits", load: ""},
	} {
		p := Decide(c.waiting, c.ledger, limits)
		if names(p.Load) != c.load || names(p.Done) != c.done || names(p.Later) != c.later || names(p.Changed) != c.changed {
			t.Errorf("%s: load %q done %q later %q changed %q", c.sentence, names(p.Load), names(p.Done), names(p.Later), names(p.Changed))
		}
	}
}

func TestABatchIsUniqueWithinItsDataset(t *testing.T) {
	a, b := events.ExportReady{Dataset: "invoice", Batch: "b1"}, events.ExportReady{Dataset: "payment", Batch: "b1"}
	if Of(a) == Of(b) {
		t.Error("two datasets share a batch")
	}
}
