"""Derives company_months.sheet from company/*.csv: every KPI of every project and month, as a formula of the documents' own amounts.

    python3 company_months.py > company_months.sheet

It knows the pinned rules and nothing of the warehouse or its SQL: the tests of the warehouse work the formulas out and compare.
"""
import calendar, csv, datetime as dt, re
from decimal import Decimal as D, ROUND_HALF_UP
from fractions import Fraction


def read(name):
    with open(f"company/{name}.csv") as f:
        return list(csv.DictReader(f))


day = dt.date.fromisoformat
ENDS = [dt.date(2025, m, calendar.monthrange(2025, m)[1]) for m in range(1, 13)]
OPEN = ENDS[-1]
rates = {}
for r in read("currency_rate"):
    rates[r["currency"], day(r["date"])] = D(r["rate"])


def rate(currency, on):
    """UF has one a day; of the dollar the last up to 7 days back."""
    for back in range(8 if currency == "USD" else 1):
        found = rates.get((currency, on - dt.timedelta(back)))
        if found:
            return found


def rate_at(currency, end):
    """At a month's end; in the open month the last day that has one."""
    if end == OPEN:
        days = [d for d in (end - dt.timedelta(n) for n in range(366)) if rate(currency, d)]
        return rate(currency, days[0]) if days else None
    return rate(currency, end)


def pesos(amount, currency, of):
    """Formula of an amount in pesos, rounded once a document; None without a rate."""
    if currency in ("", "CLP"):
        return str(amount)
    if of is None:
        return None
    return str((D(amount) * of).quantize(D(1), ROUND_HALF_UP))


def total(parts):
    return " + ".join(f"({p})" for p in parts) or "0"


def ratio(over, under):
    return f"({over}) / ({under})" if value(under) != 0 else ""


def value(formula):
    """Exact."""
    return eval(re.sub(r"[0-9.]+", lambda n: f"Fraction('{n[0]}')", formula), {"Fraction": Fraction})


def cents(formula):
    """A project's amount is rounded once, half away from zero; the company's is the sum of those."""
    n = value(formula) * 100
    whole = (2 * abs(n.numerator) + n.denominator) // (2 * n.denominator)
    return str(D(whole if n >= 0 else -whole) / 100)


sales = []
for d in read("invoice"):
    if d["state"] == "posted" and d["move_type"] in ("out_invoice", "out_refund", "out_receipt"):
        net = D(d["amount_total"]) - D(d["amount_tax"] or 0)
        text = pesos(net, d["currency"], rate(d["currency"], day(d["date"])) if d["currency"] != "CLP" else None)
        if text is not None:
            sales.append((d["project_id"], day(d["date"]), ("-" if d["move_type"] == "out_refund" else "") + text))
costs = [(c["project_id"], day(c["date"]), c["amount"]) for c in read("cost_line") if c["kind"] == "actual"]


def of(facts, project, first, last):
    return total(a for p, on, a in facts if project in (p, None) and first <= on <= last)


def row(mart, where, column, formula):
    print(f"{mart} | {where} | {column} | {formula or ''}".rstrip())


BEGIN = dt.date(2000, 1, 1)
company = {end: {"backlog": [], "wip": []} for end in ENDS}
print("# Made by company_months.py from company/*.csv: mart | of what | column | formula; empty is NULL.")
for p in read("project") + [{"project_id": ""}]:
    id, name = p["project_id"], p["project_id"] or "-"
    facts = [on for q, on, _ in sales + costs if q == id] + ([day(p["date_start"])] if id else [])
    for end in ENDS:
        if end < min(facts):
            continue
        first, where = end.replace(day=1), f"{name} {end:%Y-%m}"
        revenue, cost = of(sales, id, first, end), of(costs, id, first, end)
        billed, ac = of(sales, id, BEGIN, end), of(costs, id, BEGIN, end)
        row("mart_kpi_project", where, "revenue", revenue)
        row("mart_kpi_project", where, "direct_cost", cost)
        row("mart_kpi_project", where, "gross_margin", ratio(f"{revenue} - ({cost})", revenue))
        row("mart_kpi_project", where, "gross_margin_to_date", ratio(f"{billed} - ({ac})", billed))
        if not id:
            row("mart_kpi_project", where, "backlog", "")
            row("mart_kpi_project", where, "wip", "")
            continue
        cancelled = p["state"] == "cancel"
        finished = cancelled or p["state"] == "done" and p["date_end"] and day(p["date_end"]) <= end
        agreed = D(p["contract_amount"]) + D(p["approved_changes"] or 0)
        contract = billed if cancelled else pesos(agreed, p["contract_currency"], rate_at(p["contract_currency"], end))
        estimate = p["estimate_at_completion"] or p["budget_cost"]
        percent = "1" if finished else f"({ac}) / {estimate}"
        if value(percent) > 1:
            percent = "1"
        earned = f"{percent} * ({contract})" if contract is not None else None
        row("mart_fact_wip", where, "contract_value", contract)
        row("mart_fact_wip", where, "percent_cost", percent)
        row("mart_fact_wip", where, "earned_revenue", earned)
        row("mart_fact_wip", where, "billed", billed)
        row("mart_fact_wip", where, "ac", ac)
        reports = sorted((day(s["date"]), int(s["progress_id"]), s) for s in read("site_progress") if s["project_id"] == id and day(s["date"]) <= end)
        bac = p["budget_cost"]
        ev = f"{min(D(reports[-1][2]['physical_percent']), D(100))} / 100 * {bac}" if reports else ""
        pv = f"{min(D(reports[-1][2]['planned_percent']), D(100))} / 100 * {bac}" if reports else ""
        row("mart_fact_wip", where, "ev", ev)
        row("mart_fact_wip", where, "pv", pv)
        row("mart_fact_wip", where, "cpi", ev and ratio(ev, ac))
        row("mart_fact_wip", where, "spi", ev and ratio(ev, pv))
        row("mart_fact_wip", where, "eac", ev and value(ac) and f"{bac} / (({ev}) / ({ac}))")
        if earned is None:
            for mart, column in (("mart_kpi_project", "backlog"), ("mart_kpi_project", "wip"), ("mart_fact_wip", "over_billing"), ("mart_fact_wip", "under_billing")):
                row(mart, where, column, "")
            continue
        difference = f"{earned} - ({billed})"
        row("mart_kpi_project", where, "backlog", f"{contract} - {earned}")
        row("mart_kpi_project", where, "wip", difference)
        row("mart_fact_wip", where, "over_billing", "0" if value(difference) >= 0 else f"-({difference})")
        row("mart_fact_wip", where, "under_billing", "0" if value(difference) <= 0 else difference)
        company[end]["backlog"].append(cents(f"{contract} - {earned}"))
        company[end]["wip"].append(cents(difference))

for end in ENDS:
    first, where = end.replace(day=1), f"{end:%Y-%m}"
    revenue, cost = of(sales, None, first, end), of(costs, None, first, end)
    billed, ac = of(sales, None, BEGIN, end), of(costs, None, BEGIN, end)
    last = {}
    for b in sorted(read("cash_balance"), key=lambda b: (b["date"], int(b["balance_id"]))):
        if day(b["date"]) <= end:
            last[b["account"]] = b
    parts = [pesos(b["balance"], b["currency"], None if b["currency"] == "CLP" else rate_at(b["currency"], end)) for b in last.values()]
    cash = None if None in parts else total(parts)
    out = []
    for p in read("payment"):
        operating = p["state"] == "posted" and p["direction"] == "outbound" and p["kind"] not in ("transfer", "financing", "investment")
        if operating and end - dt.timedelta(89) <= day(p["date"]) <= end:
            out.append(pesos(p["amount"], p["currency"], None if p["currency"] == "CLP" else rate(p["currency"], day(p["date"]))))
    outflow = total(o for o in out if o is not None)
    row("mart_kpi_company", where, "revenue", revenue)
    row("mart_kpi_company", where, "direct_cost", cost)
    row("mart_kpi_company", where, "gross_margin", ratio(f"{revenue} - ({cost})", revenue))
    row("mart_kpi_company", where, "gross_margin_to_date", ratio(f"{billed} - ({ac})", billed))
    row("mart_kpi_company", where, "cash", cash)
    row("mart_kpi_company", where, "days_of_cash", ratio(cash, f"({outflow}) / 90") if cash else "")
    row("mart_kpi_company", where, "backlog", total(company[end]["backlog"]))
    row("mart_kpi_company", where, "wip", total(company[end]["wip"]))
