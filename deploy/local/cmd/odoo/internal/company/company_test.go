package company

import (
	"strings"
	"testing"
	"time"
)

var today = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

func TestTheSameSeedGivesTheSameRowsAndAnotherSeedOthers(t *testing.T) {
	first, second, other := New(12, 1, today), New(12, 1, today), New(13, 1, today)
	if first.Digest() != second.Digest() {
		t.Error("the same seed gave other rows")
	}
	if first.Digest() == other.Digest() {
		t.Error("another seed gave the same rows")
	}
	for _, table := range first.Tables() {
		t.Logf("%-20s %6d", table.Name, table.Rows())
		if table.Rows() == 0 {
			t.Errorf("table %s is empty", table.Name)
		}
	}
}

func TestScaleMultipliesTheCompany(t *testing.T) {
	one, three := New(1, 1, today), New(1, 3, today)
	if got := three.tables["project"].Rows(); got != 3*one.tables["project"].Rows() {
		t.Errorf("scale 3 has %d projects", got)
	}
}

func TestNoRowIsYoungerThanTheDay(t *testing.T) {
	h := New(12, 1, today)
	for _, table := range h.Tables() {
		at := -1
		for i, c := range table.Columns {
			if c == "write_date" {
				at = i
			}
		}
		for line := range strings.Lines(table.Copy()) {
			if written := strings.Split(strings.TrimSpace(line), "\t")[at]; written >= "2026-11-24" {
				t.Fatalf("table %s has a row written at %s", table.Name, written)
			}
		}
	}
}

func TestBudgetLinesAddUpToTheBudget(t *testing.T) {
	h := New(12, 1, today)
	sums := map[string]int64{}
	for line := range strings.Lines(h.tables["budget_line"].Copy()) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		sums[f[1]] += cents(t, f[4])
	}
	for line := range strings.Lines(h.tables["project"].Copy()) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if budget := cents(t, f[10]); sums[f[0]] != budget {
			t.Errorf("project %s has a budget of %d, its lines add up to %d", f[0], budget, sums[f[0]])
		}
	}
}

func TestBalancesAreOpeningPlusPayments(t *testing.T) {
	h := New(12, 1, today)
	balance := map[string]int64{AccountMain: openingMain, AccountPayments: openingPayments, AccountDollars: openingDollars}
	last := map[string][2]string{}
	for line := range strings.Lines(h.tables["cash_balance"].Copy()) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		last[f[1]] = [2]string{f[2], f[3]}
	}
	for line := range strings.Lines(h.tables["payment"].Copy()) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if f[2] > last[f[7]][0] {
			continue
		}
		if f[5] == "inbound" {
			balance[f[7]] += cents(t, f[3])
		} else {
			balance[f[7]] -= cents(t, f[3])
		}
	}
	for name, want := range balance {
		if got := cents(t, last[name][1]); got != want {
			t.Errorf("%s shows %d at %s, the payments give %d", name, got, last[name][0], want)
		}
		t.Logf("%-20s %s at %s", name, last[name][1], last[name][0])
	}
}

func TestCheckDigitsAreThoseOfTheTaxOffice(t *testing.T) {
	for number, want := range map[int64]string{12_345_678: "5", 15_509_661: "6", 60_803_000: "K", 76_000_000: "0"} {
		if got := RUTDigit(number); got != want {
			t.Errorf("RUT %d has digit %s, want %s", number, got, want)
		}
	}
	if RUT(60_803_000) != "60.803.000-K" {
		t.Errorf("RUT is written %s", RUT(60_803_000))
	}
}

func TestFixedPointKeepsEveryDigitAndRoundsHalfAwayFromZero(t *testing.T) {
	for want, got := range map[string]fixed{"0.05": money(5), "-0.05": money(-5), "1234.50": money(123450), "1.0000": {10_000, 4}, "7": {7, 0}} {
		if got.String() != want {
			t.Errorf("%d at scale %d is %s, want %s", got.units, got.scale, got, want)
		}
	}
	if mulDiv(5, 1, 2) != 3 || mulDiv(-5, 1, 2) != -3 || mulDiv(4, 1, 3) != 1 || mulDiv(1<<62, 6, 8) != 3<<60 {
		t.Error("mulDiv does not round half away from zero")
	}
}

func cents(t *testing.T, text string) int64 {
	t.Helper()
	whole, part, _ := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	var n int64
	for _, r := range whole + part {
		n = n*10 + int64(r-'0')
	}
	if strings.HasPrefix(text, "-") {
		return -n
	}
	return n
}
