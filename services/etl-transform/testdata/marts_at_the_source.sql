-- The marts by PostgreSQL alone, on the tables that Odoo's export reads: written from the pinned formulas (amounts, rates, zero cases), not from the warehouse's models.
-- It takes each figure of each month by itself, which is slow and plain. The tables live in the session only:
--   psql -v as_of=2026-10-31 -f marts_at_the_source.sql    then    TABLE source_kpi_company;
-- as_of is the day of the warehouse's greatest asof in America/Santiago (`ofitec etl status`). A deleted row is one that is not there.

-- Company currency for one unit: pesos 1, UF the day's own rate, all else the last one up to 7 days back. Of two rates of a day the one with the highest id.
CREATE FUNCTION pg_temp.rate(unit text, day date) RETURNS numeric LANGUAGE sql AS $$
    SELECT CASE WHEN coalesce(unit, 'CLP') = 'CLP' THEN 1 ELSE (
        SELECT rate FROM currency_rate WHERE currency = unit AND rate > 0 AND date BETWEEN day - CASE unit WHEN 'UF' THEN 0 ELSE 7 END AND day ORDER BY date DESC, rate_id DESC LIMIT 1) END $$;

-- At a month's end: that day's, in the month that is not over the last that there is.
CREATE FUNCTION pg_temp.closing_rate(unit text, month_end date, as_of date) RETURNS numeric LANGUAGE sql AS $$
    SELECT CASE WHEN coalesce(unit, 'CLP') = 'CLP' THEN 1
        WHEN as_of <= month_end THEN (SELECT rate FROM currency_rate WHERE currency = unit AND rate > 0 AND date <= month_end ORDER BY date DESC, rate_id DESC LIMIT 1)
        ELSE pg_temp.rate(unit, month_end) END $$;

-- Pesos are whole when they come of another currency, and as booked when they do not.
CREATE FUNCTION pg_temp.pesos(amount numeric, unit text, rate numeric) RETURNS numeric LANGUAGE sql AS $$ SELECT CASE WHEN coalesce(unit, 'CLP') = 'CLP' THEN amount ELSE round(amount * rate, 0) END $$;

-- A quotient with so many digits, half away from zero, none by zero.
CREATE FUNCTION pg_temp.quotient(n numeric, d numeric, digits int) RETURNS numeric LANGUAGE sql AS $$ SELECT CASE WHEN d <> 0 THEN round(n::numeric(100,40) / d, digits) END $$;

CREATE FUNCTION pg_temp.key(id bigint) RETURNS uuid LANGUAGE sql AS $$ SELECT CASE WHEN id IS NULL THEN '00000000-0000-0000-0000-000000000000' ELSE md5(id::text)::uuid END $$;

CREATE FUNCTION pg_temp.month_end(day date) RETURNS date LANGUAGE sql AS $$ SELECT (date_trunc('month', day) + interval '1 month - 1 day')::date $$;

CREATE TEMP TABLE source_fact_sales AS
SELECT date, pg_temp.key(project_id) AS hk_project, pg_temp.key(partner_id) AS hk_partner, pg_temp.key(invoice_id) AS hk_invoice, invoice_id,
    CASE move_type WHEN 'out_refund' THEN 'credit_note' ELSE 'invoice' END AS document_type, state, amount_total - coalesce(amount_tax, 0) AS amount_untaxed, amount_tax, amount_total,
    CASE move_type WHEN 'out_refund' THEN -1 ELSE 1 END AS sign, currency, due_date, retention_amount
FROM invoice WHERE state = 'posted' AND move_type IN ('out_invoice', 'out_refund', 'out_receipt') AND date IS NOT NULL AND amount_total > 0;

CREATE TEMP TABLE source_fact_cashflow AS
SELECT date, pg_temp.key(project_id) AS hk_project, category, status, amount, pg_temp.key(line_id) AS hk_cashflow_line, line_id FROM cashflow_line WHERE date IS NOT NULL AND status IN ('planned', 'actual');

CREATE TEMP TABLE source_fact_cost AS
SELECT date, pg_temp.key(project_id) AS hk_project, cost_category, kind, amount, pg_temp.key(cost_line_id) AS hk_cost_line, cost_line_id FROM cost_line WHERE date IS NOT NULL AND amount IS NOT NULL;

CREATE TEMP TABLE source_fact_budget AS
SELECT pg_temp.key(project_id) AS hk_project, cost_category, period, budget, committed, actual, budget - actual AS variance
FROM (
    SELECT project_id, cost_category, period,
        (SELECT coalesce(sum(b.amount), 0) FROM budget_line AS b WHERE b.project_id IS NOT DISTINCT FROM c.project_id AND coalesce(b.cost_category, '(unknown)') = c.cost_category AND date_trunc('month', b.period) = c.period) AS budget,
        (SELECT coalesce(sum(l.amount), 0) FROM cost_line AS l WHERE l.kind = 'committed' AND l.project_id IS NOT DISTINCT FROM c.project_id AND coalesce(l.cost_category, '(unknown)') = c.cost_category AND date_trunc('month', l.date) = c.period) AS committed,
        (SELECT coalesce(sum(l.amount), 0) FROM cost_line AS l WHERE l.kind = 'actual' AND l.project_id IS NOT DISTINCT FROM c.project_id AND coalesce(l.cost_category, '(unknown)') = c.cost_category AND date_trunc('month', l.date) = c.period) AS actual
    FROM (
        SELECT project_id, coalesce(cost_category, '(unknown)') AS cost_category, date_trunc('month', period)::date AS period FROM budget_line WHERE period IS NOT NULL
        UNION SELECT project_id, coalesce(cost_category, '(unknown)'), date_trunc('month', date)::date FROM cost_line WHERE date IS NOT NULL
    ) AS c
) AS sums;

CREATE TEMP TABLE source_fact_receivable AS
SELECT *,
    CASE WHEN open_amount IS NULL THEN 'unknown' WHEN open_amount = 0 AND retention_open > 0 THEN 'retention' WHEN open_amount = 0 THEN 'settled' WHEN open_amount < 0 THEN 'credit' WHEN days_overdue = 0 THEN 'not_due'
        WHEN days_overdue <= 30 THEN '1_30' WHEN days_overdue <= 60 THEN '31_60' WHEN days_overdue <= 90 THEN '61_90' ELSE 'over_90' END AS bucket, DATE :'as_of' AS as_of
FROM (
    SELECT hk_invoice, invoice_id, hk_project, hk_partner, document_type, date, coalesce(due_date, date) AS due_date, currency, amount_total, paid, credited, retention_open,
        sign * (amount_total - paid - credited - retention_open) AS open_amount,
        pg_temp.pesos(sign * (amount_total - paid - credited - retention_open), currency, pg_temp.rate(currency, date)) AS open_company,
        greatest(DATE :'as_of' - coalesce(due_date, date), 0) AS days_overdue
    FROM (
        -- The client pays what was held back last.
        SELECT *, CASE document_type WHEN 'invoice' THEN least(coalesce(retention_amount, 0), greatest(amount_total - paid - credited, 0)) ELSE 0 END AS retention_open
        FROM (
            SELECT d.*,
                (SELECT coalesce(sum(a.amount), 0) FROM payment_allocation AS a JOIN payment AS p USING (payment_id) WHERE a.invoice_id = d.invoice_id AND p.state = 'posted') AS paid,
                CASE document_type
                    WHEN 'invoice' THEN (SELECT coalesce(sum(a.amount), 0) FROM payment_allocation AS a JOIN source_fact_sales AS n ON n.invoice_id = a.credit_note_id AND n.document_type = 'credit_note' WHERE a.payment_id IS NULL AND a.invoice_id = d.invoice_id)
                    -- What is allocated is in the invoice's currency; a note in another one is used up by what that is worth on the day. Unknown without both rates.
                    ELSE (SELECT CASE WHEN bool_or(worth IS NULL) THEN NULL ELSE coalesce(sum(worth), 0) END FROM (
                        SELECT CASE WHEN coalesce(i.currency, 'CLP') = coalesce(d.currency, 'CLP') THEN a.amount
                            ELSE pg_temp.quotient(a.amount * pg_temp.rate(i.currency, coalesce(a.date, d.date)), pg_temp.rate(d.currency, coalesce(a.date, d.date)), CASE WHEN coalesce(d.currency, 'CLP') = 'CLP' THEN 0 ELSE 2 END) END AS worth
                        FROM payment_allocation AS a JOIN source_fact_sales AS i USING (invoice_id) WHERE a.payment_id IS NULL AND a.credit_note_id = d.invoice_id AND a.amount IS NOT NULL) AS uses)
                END AS credited
            FROM source_fact_sales AS d
        ) AS settled
    ) AS kept
) AS aged;

-- Revenue in pesos, NULL without a rate.
CREATE TEMP TABLE source_billed AS
SELECT i.project_id, s.date, s.sign * pg_temp.pesos(s.amount_untaxed, s.currency, pg_temp.rate(s.currency, s.date)) AS amount FROM source_fact_sales AS s JOIN invoice AS i USING (invoice_id);

CREATE TEMP TABLE source_spent AS SELECT project_id, date, amount FROM cost_line WHERE kind = 'actual' AND date IS NOT NULL AND amount IS NOT NULL;

-- From a project's start or first fact to the month that is not over.
CREATE TEMP TABLE source_fact_project_month AS
SELECT pg_temp.key(m.project_id) AS hk_project, m.month_end, DATE :'as_of' <= m.month_end AS is_open,
    (SELECT coalesce(sum(b.amount), 0) FROM source_billed AS b WHERE b.project_id IS NOT DISTINCT FROM m.project_id AND pg_temp.month_end(b.date) = m.month_end) AS revenue,
    (SELECT coalesce(sum(c.amount), 0) FROM source_spent AS c WHERE c.project_id IS NOT DISTINCT FROM m.project_id AND pg_temp.month_end(c.date) = m.month_end) AS direct_cost,
    (SELECT coalesce(sum(b.amount), 0) FROM source_billed AS b WHERE b.project_id IS NOT DISTINCT FROM m.project_id AND b.date <= m.month_end) AS revenue_to_date,
    (SELECT coalesce(sum(c.amount), 0) FROM source_spent AS c WHERE c.project_id IS NOT DISTINCT FROM m.project_id AND c.date <= m.month_end) AS direct_cost_to_date,
    (SELECT count(*) FROM source_billed AS b WHERE b.project_id IS NOT DISTINCT FROM m.project_id AND pg_temp.month_end(b.date) = m.month_end AND b.amount IS NULL) AS documents_without_rate
FROM (
    SELECT project_id, pg_temp.month_end(generate_series(date_trunc('month', min(date)), DATE :'as_of', interval '1 month')::date) AS month_end
    FROM (
        SELECT project_id, date FROM source_billed
        UNION ALL SELECT project_id, date FROM source_spent
        UNION ALL SELECT project_id, date FROM site_progress WHERE project_id IS NOT NULL AND date IS NOT NULL
        UNION ALL SELECT project_id, date_start FROM project WHERE date_start IS NOT NULL AND coalesce(state, '') <> 'draft'
    ) AS facts
    GROUP BY project_id
) AS m;

-- Earned value by the PMBOK Guide, 6th edition, table 7.1; cost to cost.
CREATE TEMP TABLE source_fact_wip AS
SELECT date, hk_project, bac, pv, ev, ac, ev - ac AS cv, ev - pv AS sv, pg_temp.quotient(ev, ac, 6) AS cpi, pg_temp.quotient(ev, pv, 6) AS spi,
    eac, eac - ac AS etc, bac - eac AS vac, pg_temp.quotient(bac - ev, bac - ac, 6) AS tcpi, percent_physical, percent_cost, contract_value, earned_revenue, billed,
    greatest(billed - earned_revenue, CASE WHEN earned_revenue IS NOT NULL THEN 0 END) * CASE WHEN earned_revenue IS NOT NULL THEN 1 END AS over_billing,
    greatest(earned_revenue - billed, CASE WHEN earned_revenue IS NOT NULL THEN 0 END) AS under_billing, percent_planned, percent_cost_raw,
    CASE WHEN state = 'cancel' THEN 0 WHEN estimate > 0 AND contract_value IS NOT NULL THEN greatest(estimate - contract_value, 0) END AS expected_loss, is_open
FROM (
    SELECT *,
        CASE WHEN ac <> 0 THEN pg_temp.quotient(bac * ac, ev, 2) END AS eac,
        CASE WHEN finished THEN 1 WHEN estimate > 0 THEN least(greatest(pg_temp.quotient(ac, estimate, 6), 0), 1) END AS percent_cost,
        CASE WHEN estimate > 0 THEN pg_temp.quotient(ac, estimate, 6) END AS percent_cost_raw,
        CASE WHEN finished THEN contract_value WHEN estimate > 0 THEN pg_temp.quotient(least(greatest(ac, 0), estimate) * contract_value, estimate, 2) END AS earned_revenue
    FROM (
        SELECT m.month_end AS date, m.hk_project, m.is_open, m.direct_cost_to_date AS ac, m.revenue_to_date AS billed, p.state, p.budget_cost AS bac, coalesce(p.estimate_at_completion, p.budget_cost) AS estimate,
            round(r.planned / 100 * p.budget_cost, 2) AS pv, round(r.physical / 100 * p.budget_cost, 2) AS ev, r.physical / 100 AS percent_physical, r.planned / 100 AS percent_planned,
            coalesce(p.state = 'cancel' OR p.state = 'done' AND p.date_end <= m.month_end, false) AS finished,
            CASE WHEN p.state = 'cancel' THEN m.revenue_to_date WHEN coalesce(p.contract_currency, 'CLP') = 'CLP' THEN round(p.contract_amount + coalesce(p.approved_changes, 0), 2)
                ELSE round((p.contract_amount + coalesce(p.approved_changes, 0)) * pg_temp.closing_rate(p.contract_currency, m.month_end, :'as_of'), 0) END AS contract_value
        FROM source_fact_project_month AS m
        LEFT JOIN project AS p ON pg_temp.key(p.project_id) = m.hk_project
        LEFT JOIN LATERAL (
            SELECT CASE WHEN physical_percent < 0 THEN 0 WHEN physical_percent > 100 THEN 100 ELSE physical_percent END AS physical,
                CASE WHEN planned_percent < 0 THEN 0 WHEN planned_percent > 100 THEN 100 ELSE planned_percent END AS planned
            FROM site_progress AS s WHERE pg_temp.key(s.project_id) = m.hk_project AND s.date <= m.month_end ORDER BY s.date DESC, s.progress_id DESC LIMIT 1
        ) AS r ON true
        WHERE m.hk_project <> pg_temp.key(NULL) AND coalesce(p.state, '') <> 'draft'
    ) AS inputs
) AS measures;

CREATE TEMP TABLE source_kpi_project AS
SELECT m.hk_project, m.month_end, m.revenue, m.direct_cost, pg_temp.quotient(m.revenue - m.direct_cost, m.revenue, 6) AS gross_margin, m.revenue_to_date, m.direct_cost_to_date,
    pg_temp.quotient(m.revenue_to_date - m.direct_cost_to_date, m.revenue_to_date, 6) AS gross_margin_to_date, w.earned_revenue,
    pg_temp.quotient(w.earned_revenue - m.direct_cost_to_date, w.earned_revenue, 6) AS earned_margin, w.contract_value, w.contract_value - w.earned_revenue AS backlog,
    w.earned_revenue - m.revenue_to_date AS wip, w.over_billing, w.under_billing, w.expected_loss, m.documents_without_rate, m.is_open
FROM source_fact_project_month AS m LEFT JOIN source_fact_wip AS w ON w.hk_project = m.hk_project AND w.date = m.month_end;

CREATE TEMP TABLE source_kpi_company AS
SELECT month_end, revenue, direct_cost, pg_temp.quotient(revenue - direct_cost, revenue, 6) AS gross_margin, cash, pg_temp.quotient(revenue_to_date - direct_cost_to_date, revenue_to_date, 6) AS gross_margin_to_date,
    earned_revenue, pg_temp.quotient(earned_revenue - ac, earned_revenue, 6) AS earned_margin, contract_value, contract_value - earned_revenue AS backlog, earned_revenue - billed AS wip, over_billing, under_billing, expected_loss,
    projects, projects_left_out, operating_outflow_90_days, pg_temp.quotient(cash, operating_outflow_90_days / 90, 6) AS days_of_cash, documents_without_rate, payments_without_rate, is_open
FROM (
    SELECT month_end, DATE :'as_of' <= month_end AS is_open FROM (
        SELECT pg_temp.month_end(generate_series(date_trunc('month', min(date)), DATE :'as_of', interval '1 month')::date) AS month_end
        FROM (SELECT month_end AS date FROM source_kpi_project UNION ALL SELECT date FROM cash_balance WHERE account IS NOT NULL AND balance IS NOT NULL) AS facts
    ) AS calendar
) AS m
LEFT JOIN LATERAL (
    SELECT coalesce(sum(revenue), 0) AS revenue, coalesce(sum(direct_cost), 0) AS direct_cost, sum(revenue_to_date) AS revenue_to_date, sum(direct_cost_to_date) AS direct_cost_to_date,
        coalesce(sum(documents_without_rate), 0) AS documents_without_rate
    FROM source_kpi_project AS k WHERE k.month_end = m.month_end
) AS k ON true
LEFT JOIN LATERAL (
    -- Where it is not known what is earned, nothing of the project is in these sums.
    SELECT count(*) FILTER (WHERE earned_revenue IS NOT NULL) AS projects, count(*) FILTER (WHERE earned_revenue IS NULL) AS projects_left_out, sum(earned_revenue) AS earned_revenue,
        sum(ac) FILTER (WHERE earned_revenue IS NOT NULL) AS ac, sum(billed) FILTER (WHERE earned_revenue IS NOT NULL) AS billed, sum(contract_value) FILTER (WHERE earned_revenue IS NOT NULL) AS contract_value,
        sum(over_billing) AS over_billing, sum(under_billing) AS under_billing, sum(expected_loss) FILTER (WHERE earned_revenue IS NOT NULL) AS expected_loss
    FROM source_fact_wip AS w WHERE w.date = m.month_end
) AS w ON true
LEFT JOIN LATERAL (
    SELECT CASE WHEN count(*) = count(amount) THEN sum(amount) END AS cash
    FROM (
        SELECT pg_temp.pesos(balance, currency, pg_temp.closing_rate(currency, m.month_end, :'as_of')) AS amount
        FROM (SELECT DISTINCT ON (account) account, balance, currency FROM cash_balance WHERE account IS NOT NULL AND balance IS NOT NULL AND date <= m.month_end ORDER BY account, date DESC, balance_id DESC) AS last
    ) AS accounts
) AS c ON true
LEFT JOIN LATERAL (
    SELECT sum(amount) AS operating_outflow_90_days, count(*) FILTER (WHERE amount IS NULL) AS payments_without_rate
    FROM (
        SELECT pg_temp.pesos(amount, currency, pg_temp.rate(currency, date)) AS amount FROM payment
        WHERE state = 'posted' AND direction = 'outbound' AND coalesce(kind, '') NOT IN ('transfer', 'financing', 'investment') AND amount IS NOT NULL AND date BETWEEN m.month_end - 89 AND m.month_end
    ) AS paid
) AS o ON true;
