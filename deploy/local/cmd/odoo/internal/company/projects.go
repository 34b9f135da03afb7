package company

import (
	"fmt"
	"time"
)

// project is one contract while its past is made.
type project struct {
	id, client  int64
	start, end  time.Time // as agreed
	currency    string
	contract    int64 // with changes, 10^-4 of currency
	budget      int64 // cents of pesos
	pace        int64 // millionths: below a million the work takes longer than agreed
	cost        int64 // millionths of the budget that the work really takes
	exempt      bool  // without VAT, as dwellings with subsidy
	retention   int64 // percent
	state       string
	stops       time.Time // a cancelled project's last day, else far away
	invoicedTo  int64     // millionths of the work invoiced
	accountedTo int64     // millionths of the work whose cost is booked
}

var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func (h *History) makeProjects() {
	n := projectsPerScale * h.scale
	span := int64(h.last.Sub(h.first).Hours()/24) + 30
	for i := range n {
		// The first quarter starts at once, the others one after the other, the last few after today.
		start := h.first.AddDate(0, 0, int(h.between(2, 50)))
		if i >= n/4 {
			start = h.first.AddDate(0, 0, int(span*int64(i-n/4+1)/int64(n-n/4))+int(h.between(-8, 8)))
		}
		h.makeProject(i, later(start, h.first))
	}
}

func (h *History) makeProject(i int, start time.Time) {
	p := &project{
		client: h.pickID(h.clients), start: start, end: start.AddDate(0, int(h.between(8, 18)), 0), currency: "UF",
		budget: h.between(180, 2_400) * 1_000_000_00, pace: h.between(820_000, 1_080_000), cost: h.between(930_000, 1_130_000),
		exempt: h.oneIn(8), retention: []int64{0, 5, 5, 10}[h.random.IntN(4)], stops: never,
	}
	switch h.random.IntN(10) {
	case 0:
		p.currency, p.exempt, p.retention = "USD", true, 0
	case 1, 2, 3, 4:
		p.currency = "CLP"
	}
	signed := h.fromPesos(mulDiv(p.budget, h.between(1_080_000, 1_220_000), million), p.currency, earlier(p.start, h.last))
	changes := int64(0)
	if h.oneIn(3) {
		changes = mulDiv(signed, h.between(-20_000, 90_000), million)
	}
	if p.currency == "CLP" {
		changes = changes / 10_000 * 10_000
	}
	p.contract = signed + changes
	end := h.decideState(p, i)

	var estimate *fixed
	if p.state != "draft" && !h.oneIn(4) {
		e := money(wholePesos(mulDiv(p.budget, p.cost+h.between(-15_000, 25_000), million)))
		estimate = &e
	}
	created := p.start.AddDate(0, 0, -int(h.between(1, 20)))
	written := h.written(earlier(later(created, h.first), h.last))
	p.id = h.tables["project"].add(fmt.Sprintf("%s %s %d", h.pick(projectKinds), h.pick(places), i+1), p.client, h.pick(managers), p.state, day(p.start), day(end),
		fixed{signed, 4}, p.currency, fixed{changes, 4}, money(p.budget), estimate, written)
	h.planProject(p, written)
	h.projects = append(h.projects, p)
}

// decideState sets the state that the project has today, and gives the end that Odoo shows.
func (h *History) decideState(p *project, i int) time.Time {
	finished := p.start.AddDate(0, 0, int(mulDiv(p.days(), million, p.pace)))
	switch {
	case p.start.After(h.last):
		p.state = "draft"
	case i%19 == 7:
		p.state = "cancel"
		p.stops = p.start.AddDate(0, 0, int(p.days()/3))
		return p.stops
	case !finished.After(h.last):
		p.state = "done"
		return finished
	default:
		p.state = "open"
	}
	return p.end
}

func (p *project) days() int64 { return int64(p.end.Sub(p.start).Hours() / 24) }

func (p *project) elapsed(date time.Time) int64 {
	return mulDiv(int64(date.Sub(p.start).Hours()/24), million, p.days())
}

// planned and physical are the shares of the work that should be and that is done at the end of a day.
func (p *project) planned(date time.Time) int64 { return sCurve(p.elapsed(date)) }

func (p *project) physical(date time.Time) int64 {
	return sCurve(mulDiv(p.elapsed(earlier(date, p.stops)), p.pace, million))
}

// fromPesos converts cents of pesos to units of 10^-4 of a currency, rounded to what contracts state.
func (h *History) fromPesos(cents int64, currency string, date time.Time) int64 {
	switch currency {
	case "UF":
		return mulDiv(cents, 10_000, h.uf[date])
	case "USD":
		return mulDiv(cents, 100, h.usd[date]) * 100
	}
	return wholePesos(cents) * 100
}

// planProject books the budget by month and category, exactly the whole of it, and the cash that is expected.
func (h *History) planProject(p *project, written time.Time) {
	left := p.budget
	month := time.Date(p.start.Year(), p.start.Month(), 1, 0, 0, 0, 0, time.UTC)
	before := int64(0)
	for ; !month.After(p.end); month = month.AddDate(0, 1, 0) {
		end := month.AddDate(0, 1, -1)
		share := p.planned(end) - before
		before += share
		for i, c := range costCategories {
			amount := wholePesos(mulDiv(mulDiv(p.budget, share, million), c.share, million))
			if end.Before(p.end) || i < len(costCategories)-1 {
				amount = min(amount, left)
			} else {
				amount = left
			}
			left -= amount
			h.tables["budget_line"].add(p.id, c.name, day(month), money(amount), written)
			h.tables["cashflow_line"].add(p.id, "outflow_"+c.name, day(end), "planned", money(amount), written)
		}
		income := h.pesos(mulDiv(p.contract, share, million), p.currency, earlier(p.start, h.last))
		h.tables["cashflow_line"].add(p.id, "inflow_customer", day(end.AddDate(0, 1, 0)), "planned", money(income), written)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
