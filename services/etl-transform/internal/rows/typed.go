package rows

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/ofitec/ofitec/models"
)

// typed is the stream of plain records, whose values all stand in the one way that they would be written: the engine reads them by their types at once. To read a text of any form, to try
// it and to write it for the hashdiff costs the engine five times as much. What is not surely plain goes the other way, which decides.
type typed struct {
	out     *bufio.Writer
	payload []int // columns that the hashdiff is over, in order of their names
	names   []string
	texts   [][]byte // of the record at hand, by the rule of canon; nil for nothing
	buffer  []byte   // behind texts
	row     []byte
	record  []byte
}

// Typed gives plain records a stream of their own, with their hashdiff over the columns of payload behind the numbers, in two halves. Before the first file.
func (w *Writer) Typed(out io.Writer, payload []string) *Writer {
	p := &typed{out: bufio.NewWriterSize(out, 1<<18), texts: make([][]byte, len(w.dataset.Columns)), names: slices.Sorted(slices.Values(payload))}
	for _, name := range p.names {
		p.payload = append(p.payload, slices.IndexFunc(w.dataset.Columns, func(c models.Column) bool { return c.Name == name }))
	}
	w.typed = p
	return w
}

// write adds a record of values that count; false when it is not plain.
func (p *typed) write(columns []models.Column, values []string, numbers []byte) (bool, error) {
	p.buffer = p.buffer[:0]
	for i := range columns {
		text, fine := p.text(&columns[i], values[i])
		if !fine {
			return false, nil
		}
		p.texts[i] = text
	}
	sum := md5.Sum(p.rowText()) // the engine takes its first byte for the least
	b := append(p.record[:0], numbers...)
	b = append(b, ',')
	b = strconv.AppendUint(b, binary.LittleEndian.Uint64(sum[8:]), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, binary.LittleEndian.Uint64(sum[:8]), 10)
	for i, text := range p.texts {
		b = append(b, ',')
		switch kind := columns[i].Type.Kind; {
		case text == nil:
		case kind == models.Text || kind == models.Enum:
			b = quoted(b, values[i])
		default:
			b = append(b, text...)
		}
	}
	p.record = append(b, '\n')
	_, err := p.out.Write(p.record)
	return true, err
}

// rowText is the row of the record at hand, by the rule of canon.
func (p *typed) rowText() []byte {
	b := p.row[:0]
	for i, column := range p.payload {
		text := p.texts[column]
		if text == nil {
			continue
		}
		b = strconv.AppendInt(b, int64(len(p.names[i])+1+len(text)), 10)
		b = append(b, ':')
		b = append(b, p.names[i]...)
		b = append(b, '=')
		b = append(b, text...)
	}
	p.row = b
	return b
}

// text is how canon writes a value; nil for none. false when the value is not plain.
func (p *typed) text(c *models.Column, value string) ([]byte, bool) {
	if value == "" {
		return nil, !c.Required
	}
	begin := len(p.buffer)
	p.buffer = append(p.buffer, value...)
	b := p.buffer[begin:len(p.buffer):len(p.buffer)]
	switch c.Type.Kind {
	case models.Text:
		return b, true
	case models.Enum:
		return b, slices.Contains(c.Values, value)
	case models.Integer:
		return b, isWhole(b, 18)
	case models.Decimal:
		return decimal(b, c.Type.Precision-c.Type.Scale, c.Type.Scale)
	case models.Boolean:
		return b, value == "true" || value == "false"
	case models.Date:
		return b, len(b) == 10 && isDate(b)
	case models.Timestamp:
		return instant(b)
	}
	return nil, false
}

// isWhole is true for an integer of up to so many digits without a zero before them.
func isWhole(b []byte, digits int) bool {
	if len(b) > 1 && b[0] == '-' && b[1] != '0' {
		b = b[1:]
	}
	return len(b) <= digits && allDigits(b) && (len(b) == 1 || b[0] != '0')
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// decimal drops the zeros behind the point.
func decimal(b []byte, digits, scale int) ([]byte, bool) {
	whole, fraction, pointed := bytes.Cut(b, []byte{'.'})
	if pointed {
		if len(fraction) > scale || !allDigits(fraction) {
			return nil, false
		}
		b = bytes.TrimRight(b, "0")
		b = bytes.TrimSuffix(b, []byte{'.'})
	}
	if len(whole) > 1 && whole[0] == '-' {
		whole = whole[1:]
		if bytes.Equal(b, []byte("-0")) {
			return nil, false
		}
	}
	return b, len(whole) <= digits && allDigits(whole) && (len(whole) == 1 || whole[0] != '0')
}

// isDate is true for a day of the calendar, as 2026-02-28.
func isDate(b []byte) bool {
	if len(b) != 10 || b[4] != '-' || b[7] != '-' || !allDigits(b[:4]) || !allDigits(b[5:7]) || !allDigits(b[8:]) {
		return false
	}
	year, month, day := number(b[:4]), number(b[5:7]), number(b[8:])
	if year == 0 || month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= 28 || day <= time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func number(b []byte) (n int) {
	for _, c := range b {
		n = 10*n + int(c-'0')
	}
	return n
}

// instant writes a time in UTC as the engine does: a space before the hour, no Z, and of a fraction no zeros at its end.
func instant(b []byte) ([]byte, bool) {
	if n := len(b); n > 0 && b[n-1] == 'Z' {
		b = b[:n-1]
	}
	if len(b) < 19 || !isDate(b[:10]) || (b[10] != 'T' && b[10] != ' ') || b[13] != ':' || b[16] != ':' || !allDigits(b[11:13]) || !allDigits(b[14:16]) || !allDigits(b[17:19]) ||
		number(b[11:13]) > 23 || number(b[14:16]) > 59 || number(b[17:19]) > 59 {
		return nil, false
	}
	if len(b) > 19 {
		if b[19] != '.' || len(b) > 26 || !allDigits(b[20:]) {
			return nil, false
		}
		b = bytes.TrimRight(b, "0")
		b = bytes.TrimSuffix(b, []byte{'.'})
	}
	b[10] = ' '
	return b, true
}
