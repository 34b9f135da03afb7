// Package company invents a Chilean construction company: two years of projects, documents, payments and balances that fit
// together. It is pure: the same seed, scale and day give the same rows, to the byte.
package company

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sort"
	"time"
)

const (
	monthsOfHistory    = 24
	clientsPerScale    = 8
	suppliersPerScale  = 20
	projectsPerScale   = 24
	openingMain        = 2_400_000_000_00 // cents of pesos, a unit of scale
	openingPayments    = 350_000_000_00
	openingDollars     = 180_000_00 // cents of dollars
	officePerMonth     = 48_000_000_00
	vatPercent         = 19
	randomStream       = 0x0F17EC
	businessHourUTC    = 12 // nine o'clock in Santiago in summer
	businessHours      = 9
	paymentTermDays    = 30
	shareOfBadRUT      = 25 // one in so many
	shareOfCreditNotes = 14
)

// History is the company's past up to and without a day.
type History struct {
	random *rand.Rand
	scale  int
	// first is the first day of the history; last is the day before the one given, so that no row is younger than now.
	first, last time.Time

	tables  map[string]*Table
	order   []*Table
	clients []int64
	vendors []int64

	projects []*project
	uf, usd  map[time.Time]int64 // cents of pesos a unit, by day
	pending  []planned
	accounts map[string]*account
	vat      int64 // cents owed for the month, negative when owed to us
}

// planned is something that happens on a later day.
type planned struct {
	on time.Time
	do func()
}

// New makes the company. A scale of 1 is 24 projects, about 30 partners and 10 thousand rows; rows grow in proportion.
func New(seed uint64, scale int, today time.Time) *History {
	y, m, d := today.Date()
	last := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -1)
	h := &History{
		random: rand.New(rand.NewPCG(seed, randomStream)), scale: scale, last: last, //nolint:gosec // a made-up company, the same for the same seed
		first:  time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, -monthsOfHistory, 0),
		tables: map[string]*Table{}, uf: map[time.Time]int64{}, usd: map[time.Time]int64{},
	}
	h.makeTables()
	h.makeRates()
	h.makePartners()
	h.makeAccounts()
	h.makeProjects()
	for month := h.first; !month.After(h.last); month = month.AddDate(0, 1, 0) {
		h.work(month)
	}
	return h
}

func (h *History) makeTables() {
	for _, t := range []struct {
		name    string
		columns []string
	}{ // parents before children
		{"partner", []string{"partner_id", "partner_name", "rut", "email", "phone", "is_customer", "is_supplier", "write_date"}},
		{"partner_contact", []string{"contact_id", "partner_id", "kind", "email", "phone", "write_date"}},
		{"project", []string{"project_id", "project_name", "partner_id", "manager", "state", "date_start", "date_end", "contract_amount",
			"contract_currency", "approved_changes", "budget_cost", "estimate_at_completion", "write_date"}},
		{"invoice", []string{"invoice_id", "project_id", "partner_id", "move_type", "date", "due_date", "amount_total", "amount_tax",
			"retention_amount", "currency", "state", "write_date"}},
		{"payment", []string{"payment_id", "partner_id", "date", "amount", "currency", "direction", "kind", "account", "state", "write_date"}},
		{"payment_allocation", []string{"allocation_id", "payment_id", "invoice_id", "credit_note_id", "amount", "date", "write_date"}},
		{"cashflow_line", []string{"line_id", "project_id", "category", "date", "status", "amount", "write_date"}},
		{"budget_line", []string{"budget_line_id", "project_id", "cost_category", "period", "amount", "write_date"}},
		{"cost_line", []string{"cost_line_id", "project_id", "cost_category", "date", "amount", "kind", "write_date"}},
		{"cash_balance", []string{"balance_id", "account", "date", "balance", "currency", "write_date"}},
		{"currency_rate", []string{"rate_id", "currency", "date", "rate", "write_date"}},
		{"site_progress", []string{"progress_id", "project_id", "date", "physical_percent", "planned_percent", "write_date"}},
	} {
		table := &Table{Name: t.name, Columns: t.columns}
		h.tables[t.name] = table
		h.order = append(h.order, table)
	}
}

// Tables are all tables, those that others refer to first.
func (h *History) Tables() []*Table { return h.order }

// Rows counts the rows of all tables.
func (h *History) Rows() int {
	rows := 0
	for _, t := range h.order {
		rows += t.Rows()
	}
	return rows
}

// Digest is the SHA-256 of all rows in order: two companies with equal digests are equal.
func (h *History) Digest() string {
	sum := sha256.New()
	for _, t := range h.order {
		fmt.Fprintf(sum, "%s\n%s", t.Name, t.Copy())
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// work lets one month happen.
func (h *History) work(month time.Time) {
	end := earlier(month.AddDate(0, 1, -1), h.last)
	for _, p := range h.projects {
		h.buildMonth(p, month, end)
	}
	h.runCompany(month, end)
	// What falls due may plan more, so this looks again until the month is empty.
	for {
		sort.SliceStable(h.pending, func(i, j int) bool { return h.pending[i].on.Before(h.pending[j].on) })
		if len(h.pending) == 0 || h.pending[0].on.After(end) {
			break
		}
		next := h.pending[0]
		h.pending = h.pending[1:]
		next.do()
	}
	if end.AddDate(0, 0, 1).Day() == 1 {
		h.closeMonth(end)
	}
}

// on plans something for a day; what lies beyond the history never happens.
func (h *History) on(date time.Time, do func()) {
	if !date.After(h.last) {
		h.pending = append(h.pending, planned{date, do})
	}
}

// written is a moment of a working day, as write_date of one transaction.
func (h *History) written(date time.Time) time.Time {
	moment := time.Duration(h.random.Int64N(int64(businessHours * time.Hour / time.Microsecond)))
	return date.Add(businessHourUTC*time.Hour + moment*time.Microsecond)
}

// between is a whole number from least to most, both possible.
func (h *History) between(least, most int64) int64 { return least + h.random.Int64N(most-least+1) }

// oneIn is true once in so many times.
func (h *History) oneIn(n int) bool { return h.random.IntN(n) == 0 }

func (h *History) pick(list []string) string { return list[h.random.IntN(len(list))] }

func (h *History) pickID(list []int64) int64 { return list[h.random.IntN(len(list))] }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
