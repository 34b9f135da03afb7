// Package known keeps what the raw files say that the source has: for each dataset the ids and their write_dates, in one file sorted by id. It is derived from
// raw files and manifest and may be thrown away at any time. What is in memory does not grow with the dataset, except one bit a row while a listing is compared.
package known

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Row is a row that the source is believed to have. The zero At is a row without a write_date.
type Row struct {
	ID int64
	At time.Time
}

// Effect is what a record of the manifest does to a row.
type Effect uint8

// The effects. A row that was seen with a smaller write_date than before does not become the current one by that; an asserted one does.
const (
	Seen Effect = iota
	Asserted
	Absent
)

// Change is one row's part in a record. Changes are in the order of the manifest.
type Change struct {
	id, at int64 // as in the file
	effect Effect
}

// NewChange makes one.
func NewChange(r Row, e Effect) Change { return Change{id: r.ID, at: micros(r.At), effect: e} }

func micros(at time.Time) int64 {
	if at.IsZero() {
		return noDate
	}
	return at.UnixMicro()
}

const (
	entrySize  = 16 // id and microseconds since 1970, both big-endian
	headerSize = 16 // a word, and the sequence of the last record that is in the book
	magic      = "ofknown1"
	noDate     = math.MinInt64
	blockRows  = 4096
)

// Book is a dataset's file, open for reading. It is for one goroutine.
type Book struct {
	file     *os.File
	rows     int64
	sequence int64
	firsts   []int64 // the first id of each block
	block    int     // which one is in page; -1 for none
	page     []byte
}

// Open opens a dataset's book; one that is not there is empty.
func Open(path string) (*Book, error) {
	b := &Book{block: -1}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open book: %w", err)
	}
	b.file = file
	if err := b.index(); err != nil {
		_ = file.Close() // only read
		return nil, fmt.Errorf("open book %s: %w", path, err)
	}
	return b, nil
}

// ErrDamaged is wrapped when a book is not what was written; it can be made again.
var ErrDamaged = errors.New("not a whole book")

func (b *Book) index() error {
	info, err := b.file.Stat()
	if err != nil {
		return err
	}
	var header [headerSize]byte
	if _, err := io.ReadFull(b.file, header[:]); err != nil || string(header[:8]) != magic || (info.Size()-headerSize)%entrySize != 0 {
		return ErrDamaged
	}
	b.sequence = int64(binary.BigEndian.Uint64(header[8:]))
	b.rows = (info.Size() - headerSize) / entrySize
	for at := int64(0); at < b.rows; at += blockRows {
		var first [8]byte
		if _, err := b.file.ReadAt(first[:], headerSize+at*entrySize); err != nil {
			return err
		}
		b.firsts = append(b.firsts, int64(binary.BigEndian.Uint64(first[:])))
	}
	return nil
}

// Close closes the file.
func (b *Book) Close() error {
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}

// Rows is how many rows there are.
func (b *Book) Rows() int64 { return b.rows }

// Sequence is the last record of the manifest that is in the book.
func (b *Book) Sequence() int64 { return b.sequence }

// Find gives a row's position in the book and what is known of it.
func (b *Book) Find(id int64) (position int64, row Row, found bool, err error) {
	block, exact := slices.BinarySearch(b.firsts, id)
	if !exact {
		block--
	}
	if block < 0 {
		return 0, row, false, nil
	}
	if err := b.load(block); err != nil {
		return 0, row, false, err
	}
	low, high := 0, len(b.page)/entrySize
	for low < high {
		middle := (low + high) / 2
		switch r := entry(b.page[middle*entrySize:]); {
		case r.ID == id:
			return int64(block)*blockRows + int64(middle), r, true, nil
		case r.ID < id:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0, row, false, nil
}

func (b *Book) load(block int) error {
	if block == b.block {
		return nil
	}
	count := min(b.rows-int64(block)*blockRows, blockRows)
	b.page = slices.Grow(b.page[:0], int(count*entrySize))[:count*entrySize]
	if _, err := b.file.ReadAt(b.page, headerSize+int64(block)*blockRows*entrySize); err != nil {
		return fmt.Errorf("read book: %w", err)
	}
	b.block = block
	return nil
}

// Each calls visit for every row in order of the ids.
func (b *Book) Each(visit func(position int64, r Row) error) error {
	if b.file == nil {
		return nil
	}
	reader := bufio.NewReaderSize(io.NewSectionReader(b.file, headerSize, b.rows*entrySize), 256<<10)
	var raw [entrySize]byte
	for position := range b.rows {
		if _, err := io.ReadFull(reader, raw[:]); err != nil {
			return fmt.Errorf("read book: %w", err)
		}
		if err := visit(position, entry(raw[:])); err != nil {
			return err
		}
	}
	return nil
}

func entry(raw []byte) Row {
	return Row{ID: int64(binary.BigEndian.Uint64(raw)), At: moment(int64(binary.BigEndian.Uint64(raw[8:])))}
}

func moment(micros int64) time.Time {
	if micros == noDate {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

func appendEntry(raw []byte, r Row) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(raw, uint64(r.ID)), uint64(micros(r.At)))
}

// Write makes a book anew: what it was, and the changes of the records up to sequence. The changes are sorted in place. The file is replaced at once or not at all.
func Write(path string, changes []Change, sequence int64) error {
	old, err := Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }() // only read
	slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.id, b.id) })
	draft, err := os.CreateTemp(filepath.Dir(path), ".book-*")
	if err != nil {
		return fmt.Errorf("write book: %w", err)
	}
	defer func() { _ = os.Remove(draft.Name()) }() // gone already when all went well
	out := bufio.NewWriterSize(draft, 256<<10)
	_, err = out.Write(binary.BigEndian.AppendUint64([]byte(magic), uint64(sequence)))
	m := merger{changes: changes, out: out}
	err = errors.Join(err, old.Each(func(_ int64, r Row) error { return m.upTo(r) }), m.rest(), out.Flush(), draft.Close())
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write book: %w", err)
	}
	return nil
}

// merger lays changes, sorted by id, over rows that come sorted by id.
type merger struct {
	changes []Change
	out     *bufio.Writer
	raw     []byte
}

// upTo writes what comes before a row of the old book, and that row as it has become.
func (m *merger) upTo(r Row) error {
	for len(m.changes) > 0 && m.changes[0].id < r.ID {
		if err := m.one(Row{ID: m.changes[0].id}, false); err != nil {
			return err
		}
	}
	return m.one(r, true)
}

func (m *merger) rest() error {
	for len(m.changes) > 0 {
		if err := m.one(Row{ID: m.changes[0].id}, false); err != nil {
			return err
		}
	}
	return nil
}

// one takes the changes of a row.
func (m *merger) one(r Row, there bool) error {
	for len(m.changes) > 0 && m.changes[0].id == r.ID {
		c := m.changes[0]
		m.changes = m.changes[1:]
		if c.effect == Absent {
			there = false
			continue
		}
		if !there || c.effect == Asserted || c.at > micros(r.At) {
			r.At = moment(c.at)
		}
		there = true
	}
	if !there {
		return nil
	}
	m.raw = appendEntry(m.raw[:0], r)
	_, err := m.out.Write(m.raw)
	return err
}

// Marks is one bit a position.
type Marks []uint64

// NewMarks makes the bits of a book.
func NewMarks(b *Book) Marks { return make(Marks, b.rows/64+1) }

// Set marks a position.
func (m Marks) Set(position int64) { m[position/64] |= 1 << (position % 64) }

// Has says whether a position is marked.
func (m Marks) Has(position int64) bool { return m[position/64]&(1<<(position%64)) != 0 }

// Count is how many are marked.
func (m Marks) Count() int64 {
	n := 0
	for _, word := range m {
		n += bits.OnesCount64(word)
	}
	return int64(n)
}
