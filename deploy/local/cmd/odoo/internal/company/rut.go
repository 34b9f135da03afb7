package company

import (
	"fmt"
	"strconv"
)

// RUTDigit is the check digit of a Chilean tax number: weights 2 to 7 from the right, 11 - (sum mod 11), 11 is 0, 10 is K.
func RUTDigit(number int64) string {
	sum, weight := int64(0), int64(2)
	for n := number; n > 0; n /= 10 {
		sum += n % 10 * weight
		if weight++; weight > 7 {
			weight = 2
		}
	}
	switch d := 11 - sum%11; d {
	case 11:
		return "0"
	case 10:
		return "K"
	default:
		return strconv.FormatInt(d, 10)
	}
}

// RUT writes a number with its digit and dots, as 60.803.000-K.
func RUT(number int64) string {
	return fmt.Sprintf("%d.%03d.%03d-%s", number/1_000_000, number/1000%1000, number%1000, RUTDigit(number))
}
