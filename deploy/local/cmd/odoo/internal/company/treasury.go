package company

import "time"

// account is a bank account while its past is made.
type account struct {
	name, currency string
	balance        int64 // cents, of all payments made so far
	wages          int64 // cents due at the month's end
}

func (h *History) makeAccounts() {
	scale := int64(h.scale)
	h.accounts = map[string]*account{
		AccountMain:     {name: AccountMain, currency: "CLP", balance: openingMain * scale},
		AccountPayments: {name: AccountPayments, currency: "CLP", balance: openingPayments * scale},
		AccountDollars:  {name: AccountDollars, currency: "USD", balance: openingDollars * scale},
	}
}

// Accounts lists the bank accounts in order.
func Accounts() []string { return []string{AccountMain, AccountPayments, AccountDollars} }

// pay books a payment and moves the account's balance.
func (h *History) pay(partner int64, date time.Time, amount int64, direction, kind, name string) int64 {
	a := h.accounts[name]
	if direction == "inbound" {
		a.balance += amount
	} else {
		a.balance -= amount
	}
	return h.tables["payment"].add(partner, day(date), money(amount), a.currency, direction, kind, name, "posted", h.written(date))
}

// wages adds to what is paid out at the end of the month.
func (h *History) wages(cents int64) { h.accounts[AccountPayments].wages += cents }

// runCompany books what belongs to no project: the office, wages, VAT, loans, machines, and the transfer that feeds the
// account from which all this is paid.
func (h *History) runCompany(month, end time.Time) {
	scale := int64(h.scale)
	for range 4 * h.scale {
		date := month.AddDate(0, 0, int(h.between(0, 27)))
		if !date.After(end) {
			h.supplierInvoice(null, "overhead", wholePesos(h.between(900_000_00, 9_000_000_00)), date)
		}
	}
	payday := month.AddDate(0, 1, -2)
	h.on(payday, func() {
		a := h.accounts[AccountPayments]
		h.pay(null, payday, a.wages+officePerMonth*scale, "outbound", "payroll", AccountPayments)
		a.wages = 0
	})
	taxDay := month.AddDate(0, 0, 19)
	h.on(taxDay, func() {
		if h.vat > 0 { // what the state owes us is carried on
			h.pay(null, taxDay, h.vat, "outbound", "tax", AccountMain)
			h.vat = 0
		}
	})
	feed := month.AddDate(0, 0, 23)
	h.on(feed, func() { h.feed(feed) })
	months := int(month.Sub(h.first).Hours() / 24 / 30)
	if loan := month.AddDate(0, 0, 6); months%12 == 3 {
		h.on(loan, func() { h.pay(null, loan, 600_000_000_00*scale, "inbound", "financing", AccountMain) })
	} else if months%3 == 0 && months > 3 {
		h.on(loan, func() { h.pay(null, loan, 155_000_000_00*scale, "outbound", "financing", AccountMain) })
	}
	if machine := month.AddDate(0, 0, 10); months%9 == 5 {
		h.on(machine, func() {
			h.pay(null, machine, h.between(60, 180)*1_000_000_00*scale, "outbound", "investment", AccountMain)
		})
	}
}

// feed moves money from the main account to the one that pays, up to a working balance.
func (h *History) feed(date time.Time) {
	target := h.accounts[AccountPayments].wages + (openingPayments+officePerMonth)*int64(h.scale)
	missing := target - h.accounts[AccountPayments].balance
	if missing <= 0 {
		return
	}
	h.pay(null, date, missing, "outbound", "transfer", AccountMain)
	h.pay(null, date, missing, "inbound", "transfer", AccountPayments)
}

// closeMonth notes each account's balance at the month's last day.
func (h *History) closeMonth(end time.Time) {
	written := h.written(end)
	for _, name := range Accounts() {
		a := h.accounts[name]
		h.tables["cash_balance"].add(name, day(end), money(a.balance), a.currency, written)
	}
}
