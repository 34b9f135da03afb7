package known

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestABookIsWhatTheChangesMakeOfItHoweverTheyAreCut(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		path := filepath.Join(t.TempDir(), "invoice.book")
		want := map[int64]time.Time{}
		var batch []Change
		for sequence := range int64(2000) {
			row, effect := Row{ID: random.Int64N(300) - 50, At: time.UnixMicro(random.Int64N(1000)).UTC()}, Effect(random.IntN(3))
			if random.IntN(10) == 0 {
				row.At = time.Time{}
			}
			batch = append(batch, NewChange(row, effect))
			old, has := want[row.ID]
			switch {
			case effect == Absent:
				delete(want, row.ID)
			case !has || effect == Asserted || row.At.After(old):
				want[row.ID] = row.At
			}
			if random.IntN(100) == 0 || sequence == 1999 {
				if err := Write(path, batch, sequence); err != nil {
					t.Fatal(err)
				}
				batch = nil
			}
		}
		book, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if book.Sequence() != 1999 || book.Rows() != int64(len(want)) {
			t.Errorf("record %d, %d rows; want %d", book.Sequence(), book.Rows(), len(want))
		}
		for id := int64(-60); id < 310; id++ {
			_, row, found, err := book.Find(id)
			at, has := want[id]
			if err != nil || found != has || !row.At.Equal(at) {
				t.Errorf("row %d: %v %v %v, want %v %v", id, row, found, err, at, has)
			}
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRowsOfManyBlocksAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "invoice.book")
	var changes []Change
	for id := range int64(3*blockRows + 5) {
		changes = append(changes, NewChange(Row{ID: id * 2, At: time.UnixMicro(id).UTC()}, Seen))
	}
	if err := Write(path, changes, 1); err != nil {
		t.Fatal(err)
	}
	book, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = book.Close() }() // only read
	marks := NewMarks(book)
	for id := range book.Rows() {
		position, row, found, err := book.Find(id * 2)
		if err != nil || !found || position != id || row.At.UnixMicro() != id {
			t.Fatalf("row %d: %d %v %v %v", id*2, position, row, found, err)
		}
		if _, _, found, _ := book.Find(id*2 + 1); found {
			t.Fatalf("row %d is there", id*2+1)
		}
		marks.Set(position)
	}
	if marks.Count() != book.Rows() {
		t.Errorf("%d of %d marked", marks.Count(), book.Rows())
	}
}

func TestADamagedBookIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "invoice.book")
	if err := Write(path, []Change{NewChange(Row{ID: 1}, Seen)}, 1); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{0, 7, headerSize + 3} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
