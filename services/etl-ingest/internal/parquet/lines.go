// Package parquet turns a Parquet file into one object of JSON a line, which is how raw files have rows. Nothing becomes a float that was none: decimals keep all digits, moments are in UTC to the microsecond, days stay days.
package parquet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// ErrNotFlat is wrapped when the file has columns that are lists, maps or groups.
var ErrNotFlat = errors.New("only plain columns are taken")

// column is how a column's values are written.
type column struct {
	name  []byte // as JSON, with a colon
	write func(b []byte, v parquet.Value) []byte
}

// rowsAtOnce is how many rows are taken out of the file at a time.
const rowsAtOnce = 256

// Lines writes the rows of a file of a size. A file that is not what it seems to be is an error, never a panic, whatever the library makes of it.
func Lines(file io.ReaderAt, size int64, to io.Writer) (err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = errors.New("read Parquet: the file is damaged")
		}
	}()
	f, err := parquet.OpenFile(file, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return fmt.Errorf("read Parquet: %w", err)
	}
	columns, err := columnsOf(f)
	if err != nil {
		return err
	}
	for _, group := range f.RowGroups() {
		if err := writeGroup(group, columns, to); err != nil {
			return err
		}
	}
	return nil
}

func columnsOf(f *parquet.File) ([]column, error) {
	var columns []column
	for _, c := range f.Root().Columns() {
		if !c.Leaf() || c.Repeated() {
			return nil, fmt.Errorf("read Parquet: column %.64q: %w", c.Name(), ErrNotFlat)
		}
		name, err := json.Marshal(c.Name())
		if err != nil {
			return nil, fmt.Errorf("read Parquet: %w", err)
		}
		columns = append(columns, column{append(name, ':'), writerOf(c.Type())})
	}
	return columns, nil
}

func writeGroup(group parquet.RowGroup, columns []column, to io.Writer) error {
	rows := group.Rows()
	defer func() { _ = rows.Close() }() // only read
	batch := make([]parquet.Row, rowsAtOnce)
	var line []byte
	for {
		n, err := rows.ReadRows(batch)
		for _, row := range batch[:n] {
			line = append(line[:0], '{')
			for _, v := range row {
				c := columns[v.Column()]
				if v.Column() > 0 {
					line = append(line, ',')
				}
				line = append(line, c.name...)
				if v.IsNull() {
					line = append(line, "null"...)
					continue
				}
				line = c.write(line, v)
			}
			if _, err := to.Write(append(line, "}\n"...)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read Parquet: %w", err)
		}
	}
}

// writerOf says how values of a type are written.
func writerOf(t parquet.Type) func([]byte, parquet.Value) []byte {
	logical := t.LogicalType()
	switch {
	case logical != nil && logical.Decimal != nil:
		scale := int(logical.Decimal.Scale)
		return func(b []byte, v parquet.Value) []byte { return appendDecimal(b, unscaled(v), scale) }
	case logical != nil && logical.Date != nil:
		return func(b []byte, v parquet.Value) []byte {
			return quoted(b, time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly))
		}
	case logical != nil && logical.Timestamp != nil:
		unit := unitOf(logical.Timestamp.Unit)
		return func(b []byte, v parquet.Value) []byte { return appendMoment(b, v.Int64(), unit) }
	case logical != nil && logical.Integer != nil && !logical.Integer.IsSigned:
		return appendUnsigned
	}
	return appendPlain
}

func appendUnsigned(b []byte, v parquet.Value) []byte {
	if v.Kind() == parquet.Int32 {
		return strconv.AppendUint(b, uint64(uint32(v.Int32())), 10)
	}
	return strconv.AppendUint(b, uint64(v.Int64()), 10)
}

// unitOf is how many units a second has.
func unitOf(u format.TimeUnit) int64 {
	switch {
	case u.Millis != nil:
		return 1_000
	case u.Micros != nil:
		return 1_000_000
	}
	return 1_000_000_000
}

const moment = "2006-01-02T15:04:05.000000Z"

func appendMoment(b []byte, value, unit int64) []byte {
	seconds, part := value/unit, value%unit
	return quoted(b, time.Unix(seconds, part*(1_000_000_000/unit)).UTC().Format(moment))
}

func quoted(b []byte, text string) []byte {
	b = append(b, '"')
	return append(append(b, text...), '"')
}

// unscaled is a decimal without its point.
func unscaled(v parquet.Value) *big.Int {
	switch v.Kind() {
	case parquet.Int32:
		return big.NewInt(int64(v.Int32()))
	case parquet.Int64:
		return big.NewInt(v.Int64())
	}
	bytes := v.ByteArray()
	n := new(big.Int).SetBytes(bytes)
	if len(bytes) > 0 && bytes[0]&0x80 != 0 { // two's complement
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(bytes))*8))
	}
	return n
}

func appendDecimal(b []byte, n *big.Int, scale int) []byte {
	digits := new(big.Int).Abs(n).String()
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if n.Sign() < 0 {
		b = append(b, '-')
	}
	whole := len(digits) - scale
	b = append(b, digits[:whole]...)
	if scale > 0 {
		b = append(append(b, '.'), digits[whole:]...)
	}
	return b
}

// julianEpoch is 1970-01-01 in the days of INT96, the moments of older programs.
const julianEpoch = 2_440_588

func appendPlain(b []byte, v parquet.Value) []byte {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.AppendBool(b, v.Boolean())
	case parquet.Int32:
		return strconv.AppendInt(b, int64(v.Int32()), 10)
	case parquet.Int64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case parquet.Int96:
		i := v.Int96()
		nanos := int64(i[1])<<32 | int64(i[0])
		return quoted(b, time.Unix((int64(i[2])-julianEpoch)*86400, nanos).UTC().Format(moment))
	case parquet.Float:
		return appendFloat(b, float64(v.Float()), 32)
	case parquet.Double:
		return appendFloat(b, v.Double(), 64)
	}
	text, err := json.Marshal(string(v.ByteArray()))
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, text...)
}

// appendFloat writes the shortest digits that mean the same; what is no number is null in JSON.
func appendFloat(b []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'f', -1, bits)
}
