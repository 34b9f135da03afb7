package company

import "time"

// buildMonth books what one project did from the first day of a month to end: reports from the site, costs, what suppliers
// invoice for them, and what the client is invoiced.
func (h *History) buildMonth(p *project, month, end time.Time) {
	if p.state == "draft" || p.start.After(end) || p.invoicedTo == million || month.After(p.stops) {
		return
	}
	for _, date := range []time.Time{month.AddDate(0, 0, 14), month.AddDate(0, 1, -1)} {
		if date.Before(p.start) || date.After(end) {
			continue
		}
		h.tables["site_progress"].add(p.id, day(date), fixed{p.physical(date), 4}, fixed{p.planned(date), 4}, h.written(date))
	}
	h.bookCosts(p, later(month, p.start), end)
	if end.AddDate(0, 0, 1).Day() == 1 { // clients are invoiced for whole months
		h.invoiceClient(p, end)
	}
}

func (h *History) bookCosts(p *project, from, end time.Time) {
	share := p.physical(end) - p.accountedTo
	if share <= 0 {
		return
	}
	p.accountedTo += share
	total := mulDiv(mulDiv(p.budget, p.cost, million), share, million)
	written := h.written(end) // one import a month: all its lines share one write_date
	for _, c := range costCategories {
		amount := wholePesos(mulDiv(total, c.share, million))
		if amount == 0 {
			continue
		}
		if bought(c.name) {
			h.tables["cost_line"].add(p.id, c.name, day(from), money(wholePesos(mulDiv(amount, h.between(950_000, 1_050_000), million))), "committed", written)
		}
		for parts := h.between(1, 3); parts > 0; parts-- {
			part := amount
			if parts > 1 {
				part = wholePesos(mulDiv(amount, h.between(300_000, 600_000), million))
			}
			amount -= part
			date := from.AddDate(0, 0, int(h.between(0, int64(end.Sub(from).Hours()/24))))
			h.tables["cost_line"].add(p.id, c.name, day(date), money(part), "actual", written)
			if bought(c.name) {
				h.supplierInvoice(p.id, c.name, part, date)
			}
		}
		if !bought(c.name) {
			h.tables["cashflow_line"].add(p.id, "outflow_"+c.name, day(end), "actual", money(wholePesos(mulDiv(total, c.share, million))), written)
			h.wages(wholePesos(mulDiv(total, c.share, million)))
		}
	}
}

// supplierInvoice books a purchase and plans its payment. Net in cents of pesos; project null for the office.
func (h *History) supplierInvoice(project int64, category string, net int64, date time.Time) {
	vendor := h.pickID(h.vendors)
	tax := wholePesos(mulDiv(net, vatPercent, 100))
	if category == "subcontract" && h.oneIn(6) {
		tax = 0 // fees of a professional: no VAT
	}
	state := "posted"
	if h.oneIn(60) {
		state = "cancel"
	}
	id := h.tables["invoice"].add(project, vendor, "in_invoice", day(date), day(date.AddDate(0, 0, paymentTermDays)), money(net+tax), money(tax), money(0), "CLP", state, h.written(date))
	if state == "cancel" {
		return
	}
	h.vat -= tax
	due := net + tax
	if h.oneIn(40) { // goods sent back
		back := wholePesos(mulDiv(net+tax, h.between(20_000, 150_000), million))
		backTax := wholePesos(mulDiv(back, tax, net+tax))
		due -= back
		on := date.AddDate(0, 0, int(h.between(3, 12)))
		h.on(on, func() {
			note := h.tables["invoice"].add(project, vendor, "in_refund", day(on), day(on), money(back), money(backTax), money(0), "CLP", "posted", h.written(on))
			h.tables["payment_allocation"].add(null, id, note, money(back), day(on), h.written(on))
			h.vat += backTax
		})
	}
	paid := date.AddDate(0, 0, int(h.between(paymentTermDays-5, paymentTermDays+20)))
	h.on(paid, func() {
		payment := h.pay(vendor, paid, due, "outbound", "supplier", AccountPayments)
		written := h.written(paid)
		h.tables["payment_allocation"].add(payment, id, null, money(due), day(paid), written)
		if project != null {
			h.tables["cashflow_line"].add(project, "outflow_"+category, day(paid), "actual", money(due), written)
		}
	})
}

// invoiceClient issues the month's statement of payment for the work done since the last one.
func (h *History) invoiceClient(p *project, date time.Time) {
	share := p.physical(date) - p.invoicedTo
	if share <= 0 {
		return
	}
	p.invoicedTo += share
	currency, account := "CLP", AccountMain
	net := h.pesos(mulDiv(p.contract, share, million), p.currency, date)
	if p.currency == "USD" {
		currency, account = "USD", AccountDollars
		net = mulDiv(mulDiv(p.contract, share, million), 1, 100)
	}
	if net <= 0 {
		return
	}
	tax := int64(0)
	if !p.exempt {
		tax = wholePesos(mulDiv(net, vatPercent, 100))
	}
	kept := wholePesos(mulDiv(net, p.retention, 100))
	id := h.tables["invoice"].add(p.id, p.client, "out_invoice", day(date), day(date.AddDate(0, 0, paymentTermDays)), money(net+tax), money(tax), money(kept), currency, "posted", h.written(date))
	h.vat += tax
	due := net + tax - kept
	if h.oneIn(shareOfCreditNotes) && currency == "CLP" {
		due -= h.creditClient(p, id, date, net, tax)
	}
	paid := date.AddDate(0, 0, int(h.between(paymentTermDays-8, paymentTermDays+35)))
	h.on(paid, func() {
		payment := h.pay(p.client, paid, due, "inbound", "customer", account)
		inPesos := due
		if currency == "USD" {
			inPesos = h.pesos(due*100, "USD", paid)
		}
		h.tables["cashflow_line"].add(p.id, "inflow_customer", day(paid), "actual", money(inPesos), h.written(paid))
		// Most receipts are matched at once, some weeks later, and some not yet.
		matched := paid
		if h.oneIn(8) {
			matched = paid.AddDate(0, 0, int(h.between(10, 45)))
		}
		h.on(matched, func() {
			h.tables["payment_allocation"].add(payment, id, null, money(due), day(paid), h.written(matched))
		})
	})
}

// creditClient plans a credit note for a part of an invoice and gives its total.
func (h *History) creditClient(p *project, invoice int64, date time.Time, net, tax int64) int64 {
	part := h.between(30_000, 180_000)
	credit, creditTax := wholePesos(mulDiv(net, part, million)), wholePesos(mulDiv(tax, part, million))
	on := date.AddDate(0, 0, int(h.between(4, 18)))
	h.on(on, func() {
		written := h.written(on)
		note := h.tables["invoice"].add(p.id, p.client, "out_refund", day(on), day(on), money(credit+creditTax), money(creditTax), money(0), "CLP", "posted", written)
		h.tables["payment_allocation"].add(null, invoice, note, money(credit+creditTax), day(on), written)
		h.vat -= creditTax
	})
	return credit + creditTax
}
