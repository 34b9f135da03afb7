package export

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
)

// Algorithm names the digest of a summary: the sum, modulo 2^128, of the MD5 of each row's text `<id>|<write_date>`, read as a
// big-endian number and written as 32 hexadecimal digits. The write_date is written as in an export, and is empty when it is
// NULL. A sum does not depend on the order of the rows, and two windows' digests add up. It finds differences between
// honest parties; it is no protection against forgery.
const Algorithm = "sum128-md5-id-write_date"

type digest struct {
	high, low uint64
	count     int64
}

func (d *digest) add(id, writeDate []byte) {
	sum := md5.New()
	sum.Write(id)
	sum.Write([]byte{'|'})
	sum.Write(writeDate)
	hash := sum.Sum(nil)
	var carry uint64
	d.low, carry = bits.Add64(d.low, binary.BigEndian.Uint64(hash[8:]), 0)
	d.high, _ = bits.Add64(d.high, binary.BigEndian.Uint64(hash[:8]), carry)
	d.count++
}

func (d *digest) String() string {
	var sum [16]byte
	binary.BigEndian.PutUint64(sum[:8], d.high)
	binary.BigEndian.PutUint64(sum[8:], d.low)
	return hex.EncodeToString(sum[:])
}
