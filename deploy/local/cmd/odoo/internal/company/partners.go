package company

import (
	"fmt"
	"strings"
	"time"
)

// makeRates fills a UF value for every day and a dollar for every working day.
func (h *History) makeRates() {
	uf, usd := 3_782_000+h.random.Int64N(20_000), 93_500+h.random.Int64N(3_000)
	inflation := h.between(60, 160) // millionths a day
	for date := h.first.AddDate(0, 0, -7); !date.After(h.last); date = date.AddDate(0, 0, 1) {
		if date.Day() == 10 { // the index of the last month comes into force
			inflation = h.between(20, 190)
		}
		uf = mulDiv(uf, million+inflation, million)
		h.uf[date] = uf
		written := h.written(date)
		h.tables["currency_rate"].add("UF", day(date), fixed{uf * 10_000, 6}, written)
		if weekday := date.Weekday(); weekday != time.Saturday && weekday != time.Sunday {
			usd = max(80_000, min(mulDiv(usd, million+h.between(-9_000, 9_000), million), 110_000))
			h.tables["currency_rate"].add("USD", day(date), fixed{usd * 10_000, 6}, written)
		}
		h.usd[date] = usd
	}
}

// pesos converts units of 10^-4 of a currency to cents of pesos at a day's rate, rounded once, to whole pesos.
func (h *History) pesos(amount int64, currency string, date time.Time) int64 {
	switch currency {
	case "UF":
		return mulDiv(amount, h.uf[date], 1_000_000) * 100
	case "USD":
		return mulDiv(amount, h.usd[date], 1_000_000) * 100
	}
	return mulDiv(amount, 1, 10_000) * 100
}

func (h *History) makePartners() {
	for i := range clientsPerScale * h.scale {
		h.clients = append(h.clients, h.partner(numbered(clientNames, i), true))
	}
	for i := range suppliersPerScale * h.scale {
		h.vendors = append(h.vendors, h.partner(numbered(supplierNames, i), false))
	}
}

// numbered gives the i-th name of a list, with a branch number once the list is used up.
func numbered(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return fmt.Sprintf("%s, sucursal %d", list[i%len(list)], i/len(list)+1)
}

func (h *History) partner(name string, customer bool) int64 {
	number := h.between(76_000_000, 77_999_999)
	rut := RUT(number)
	switch {
	case h.oneIn(shareOfBadRUT): // a typing mistake that nobody saw
		rut = strings.TrimSuffix(rut, RUTDigit(number)) + RUTDigit(number+1)
	case h.oneIn(shareOfBadRUT):
		rut = "" // foreign, or not asked yet
	case h.oneIn(3):
		rut = strings.ToLower(strings.ReplaceAll(rut, ".", ""))
	}
	written := h.written(h.first.AddDate(0, 0, -int(h.between(1, 7))))
	domain := domainOf(name)
	id := h.tables["partner"].add(name, rut, h.email("contacto", domain), h.phone(), customer, !customer || h.oneIn(6), written)
	for range h.between(1, 3) {
		kind := h.pick(kinds)
		h.tables["partner_contact"].add(id, kind, h.email(kind, domain), h.phone(), written)
	}
	return id
}

var plain = strings.NewReplacer("á", "a", "é", "e", "í", "i", "ó", "o", "ú", "u", "ñ", "n", "Á", "a", "Ñ", "n", "Ó", "o")

func domainOf(name string) string {
	words := strings.FieldsFunc(strings.ToLower(plain.Replace(name)), func(r rune) bool { return r < 'a' || r > 'z' })
	return strings.Join(words[:min(2, len(words))], "-") + ".cl"
}

func (h *History) email(user, domain string) string {
	address := user + "@" + domain
	if h.oneIn(5) {
		return strings.ToUpper(address[:1]) + address[1:] // as people type it
	}
	return address
}

func (h *History) phone() string {
	switch n := h.between(10_000_000, 99_999_999); h.random.IntN(4) {
	case 0:
		return fmt.Sprintf("+56 9 %04d %04d", n/10_000, n%10_000)
	case 1:
		return fmt.Sprintf("9%d", n)
	case 2:
		return fmt.Sprintf("(2) 2%03d %04d", n/10_000%1000, n%10_000)
	default:
		return fmt.Sprintf("+569%d", n)
	}
}
