package token

import (
	"strings"

	"github.com/ofitec/ofitec/models"
)

// Normal writes a value in the one way in which it becomes a token. What does not look like its kind is only stripped, never refused: it is a fact about the source.
func Normal(kind models.PII, value string) string {
	value = strings.TrimSpace(value)
	switch kind {
	case models.RUT:
		return normalRUT(value)
	case models.Email:
		return strings.ToLower(value)
	case models.Phone:
		return normalPhone(value)
	}
	return value
}

// normalRUT drops dots and blanks, has one hyphen before the check digit, and K in upper case: 12345678-5.
func normalRUT(value string) string {
	bare := strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == ' ' || r == '\u00a0' || r == '\u2010' || r == '\u2013' {
			return -1
		}
		return r
	}, value))
	bare = strings.TrimLeft(strings.TrimPrefix(bare, "CL"), "0")
	if len(bare) < 2 {
		return bare
	}
	return bare[:len(bare)-1] + "-" + bare[len(bare)-1:]
}

// ValidRUT checks a RUT's last digit: weights 2 to 7 from the right, 11 - (sum mod 11), where 11 is 0 and 10 is K.
func ValidRUT(value string) bool {
	number, digit, found := strings.Cut(normalRUT(strings.TrimSpace(value)), "-")
	if !found || len(number) > 9 {
		return false
	}
	sum, weight := 0, 2
	for i := len(number) - 1; i >= 0; i-- {
		if number[i] < '0' || number[i] > '9' {
			return false
		}
		sum += int(number[i]-'0') * weight
		if weight++; weight > 7 {
			weight = 2
		}
	}
	want := "0123456789K0"[11-sum%11]
	return len(digit) == 1 && digit[0] == want
}

// Lengths of Chilean numbers: nine digits in the country, two more with its code.
const (
	nationalDigits = 9
	withCountry    = 11
)

// normalPhone is E.164; a number without a country is Chilean.
func normalPhone(value string) string {
	international := strings.HasPrefix(value, "+")
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, value)
	switch {
	case digits == "":
		return strings.ToLower(value)
	case international:
		return "+" + digits
	case strings.HasPrefix(digits, "00"):
		return "+" + digits[2:]
	case len(digits) == nationalDigits:
		return "+56" + digits
	case len(digits) == withCountry && strings.HasPrefix(digits, "56"):
		return "+" + digits
	}
	return digits
}
