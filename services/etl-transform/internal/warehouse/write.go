package warehouse

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"math/bits"
	"strings"

	"github.com/ofitec/ofitec/services/etl-transform/internal/canon"
)

// enough is what write keeps before it gives it on.
const enough = 1 << 16

// write gives columns of a relation in the text format of COPY. hash is an expression of a row's hash, as 32 hexadecimal digits, which go behind the row for a summing; "" for none.
func (s *Snapshot) write(ctx context.Context, mart string, columns []canon.Column, relation, hash string, out io.Writer) error {
	fields := make([]string, len(columns))
	for i, c := range columns {
		fields[i] = "coalesce(" + copyText(c) + `, '\N')`
	}
	line := "concat(" + strings.Join(fields, ", chr(9), ") + ", chr(10)"
	if hash != "" {
		line += ", " + hash
	}
	found, err := s.tx.QueryContext(ctx, fmt.Sprintf("SELECT %s) FROM %s", line, relation))
	if err != nil {
		return fmt.Errorf("read mart %s: %w", mart, err)
	}
	defer found.Close()
	sum, summed := out.(*summing)
	buffer := make([]byte, 0, 2*enough)
	var text sql.RawBytes
	for found.Next() {
		if err := found.Scan(&text); err != nil {
			return fmt.Errorf("read mart %s: %w", mart, err)
		}
		if summed {
			if text, err = sum.take(text); err != nil {
				return fmt.Errorf("digest mart %s: %w", mart, err)
			}
		}
		if buffer = append(buffer, text...); len(buffer) < enough {
			continue
		}
		if _, err := out.Write(buffer); err != nil {
			return err
		}
		buffer = buffer[:0]
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("read mart %s: %w", mart, err)
	}
	_, err = out.Write(buffer)
	return err
}

// summing takes the hashes off rows and adds them up, mod 2^128.
type summing struct {
	io.Writer
	rows      int64
	high, low uint64
}

func (s *summing) take(line []byte) ([]byte, error) {
	at := bytes.LastIndexByte(line, '\n') + 1
	var hash [16]byte
	if n, err := hex.Decode(hash[:], line[at:]); err != nil || n != len(hash) {
		return nil, fmt.Errorf("read hash of a row: %q are not 32 hexadecimal digits", line[at:])
	}
	var carry uint64
	s.low, carry = bits.Add64(s.low, binary.LittleEndian.Uint64(hash[:8]), 0) // the least byte is the first
	s.high, _ = bits.Add64(s.high, binary.LittleEndian.Uint64(hash[8:]), carry)
	s.rows++
	return line[:at], nil
}

func (s *summing) content() Content {
	number := func(n uint64) *big.Int { return new(big.Int).SetUint64(n) }
	return Content{s.rows, canon.Digest(big.NewInt(s.rows), number(s.high), number(s.low))}
}
