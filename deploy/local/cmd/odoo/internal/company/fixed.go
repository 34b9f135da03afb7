package company

import (
	"fmt"
	"math/big"
	"strings"
)

// fixed is an exact decimal: units of 10^-scale. No amount here is ever a float.
type fixed struct {
	units int64
	scale int
}

// money is an amount with two digits after the point, as pesos or dollars are booked.
func money(cents int64) fixed { return fixed{cents, 2} }

func (f fixed) String() string {
	sign := ""
	n := f.units
	if n < 0 {
		sign, n = "-", -n
	}
	digits := fmt.Sprintf("%0*d", f.scale+1, n)
	if f.scale == 0 {
		return sign + digits
	}
	point := len(digits) - f.scale
	return sign + strings.Join([]string{digits[:point], digits[point:]}, ".")
}

// mulDiv is a*b/c, half away from zero, without overflow on the way. c is positive.
func mulDiv(a, b, c int64) int64 {
	product := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	negative := product.Sign() < 0
	product.Abs(product).Lsh(product, 1).Add(product, big.NewInt(c)).Quo(product, big.NewInt(2*c))
	if negative {
		product.Neg(product)
	}
	return product.Int64()
}

// wholePesos rounds cents to pesos, which have no cents in practice.
func wholePesos(cents int64) int64 { return mulDiv(cents, 1, 100) * 100 }

// million is the whole of a share; shares are counted in millionths.
const million = 1_000_000

// sCurve is the share of the work done when a share of the time has passed: 3x²-2x³, slow, fast, slow.
func sCurve(x int64) int64 {
	x = max(0, min(x, million))
	return mulDiv(mulDiv(x, x, million), 3*million-2*x, million)
}
