WITH horizon AS (
    SELECT last_day(CAST(timezone('America/Santiago', timezone('UTC', max(asof_clock))) AS DATE)) AS month_end FROM etl_batch
),
newest AS (SELECT currency, max(date) AS date FROM mart_dim_rate GROUP BY currency),
balances AS (
    SELECT account, date, arg_max(balance, balance_id) AS balance, arg_max(coalesce(currency, 'CLP'), balance_id) AS currency
    FROM vault_s_cash_balance
    WHERE is_current AND NOT is_deleted AND account IS NOT NULL AND date IS NOT NULL AND balance IS NOT NULL
    GROUP BY account, date
),
facts AS (
    SELECT month_end FROM mart_kpi_project
    UNION ALL
    SELECT last_day(date) FROM balances
),
months AS (
    SELECT last_day(CAST(unnest(generate_series(date_trunc('month', min(month_end)), (SELECT date_trunc('month', month_end) FROM horizon), INTERVAL 1 MONTH)) AS DATE)) AS month_end FROM facts
),
accounts AS (
    SELECT m.month_end, b.account, arg_max(b.balance, b.date) AS balance, arg_max(b.currency, b.date) AS currency
    FROM months AS m JOIN balances AS b ON b.date <= m.month_end
    GROUP BY m.month_end, b.account
),
valued AS (
    SELECT a.month_end, CASE WHEN a.currency = 'CLP' THEN a.balance ELSE CAST(round(CAST(a.balance AS DECIMAL(30,2)) * r.rate, 0) AS DECIMAL(18,2)) END AS amount
    FROM accounts AS a
    LEFT JOIN newest AS n ON n.currency = a.currency
    LEFT JOIN mart_dim_rate AS r ON r.currency = a.currency AND r.date = CASE WHEN a.month_end = (SELECT month_end FROM horizon) THEN least(a.month_end, n.date) ELSE a.month_end END
),
cash AS (
    SELECT month_end, CASE WHEN count(*) = count(amount) THEN CAST(sum(amount) AS DECIMAL(30,2)) END AS cash FROM valued GROUP BY month_end
),
payments AS (
    SELECT p.date, CASE WHEN coalesce(p.currency, 'CLP') = 'CLP' THEN p.amount ELSE CAST(round(CAST(p.amount AS DECIMAL(30,2)) * r.rate, 0) AS DECIMAL(18,2)) END AS amount
    FROM vault_s_payment AS p
    LEFT JOIN mart_dim_rate AS r ON r.currency = p.currency AND r.date = p.date
    WHERE p.is_current AND NOT p.is_deleted AND p.state = 'posted' AND p.direction = 'outbound' AND coalesce(p.kind, '') NOT IN ('transfer', 'financing', 'investment')
        AND p.date IS NOT NULL AND p.amount IS NOT NULL
),
outflows AS (
    SELECT m.month_end, CAST(sum(p.amount) AS DECIMAL(30,2)) AS outflow, count(*) - count(p.amount) AS without_rate
    FROM months AS m JOIN payments AS p ON p.date BETWEEN m.month_end - 89 AND m.month_end
    GROUP BY m.month_end
),
projects AS (
    SELECT
        month_end,
        CAST(sum(revenue) AS DECIMAL(30,2)) AS revenue,
        CAST(sum(direct_cost) AS DECIMAL(30,2)) AS direct_cost,
        CAST(sum(revenue_to_date) AS DECIMAL(30,2)) AS revenue_to_date,
        CAST(sum(direct_cost_to_date) AS DECIMAL(30,2)) AS direct_cost_to_date,
        CAST(sum(documents_without_rate) AS BIGINT) AS without_rate
    FROM mart_kpi_project
    GROUP BY month_end
),
works AS (
    -- A project whose earned revenue cannot be told is left out of all these sums, and counted.
    SELECT
        date AS month_end,
        count(earned_revenue) AS projects,
        count(*) - count(earned_revenue) AS projects_left_out,
        CAST(sum(contract_value) FILTER (earned_revenue IS NOT NULL) AS DECIMAL(30,2)) AS contract_value,
        CAST(sum(earned_revenue) AS DECIMAL(30,2)) AS earned_revenue,
        CAST(sum(ac) FILTER (earned_revenue IS NOT NULL) AS DECIMAL(30,2)) AS ac,
        CAST(sum(billed) FILTER (earned_revenue IS NOT NULL) AS DECIMAL(30,2)) AS billed,
        CAST(sum(over_billing) AS DECIMAL(30,2)) AS over_billing,
        CAST(sum(under_billing) AS DECIMAL(30,2)) AS under_billing,
        CAST(sum(expected_loss) FILTER (earned_revenue IS NOT NULL) AS DECIMAL(30,2)) AS expected_loss
    FROM mart_fact_wip
    GROUP BY date
)
SELECT
    m.month_end,
    coalesce(p.revenue, 0::DECIMAL(30,2)) AS revenue,
    coalesce(p.direct_cost, 0::DECIMAL(30,2)) AS direct_cost,
    ratio(p.revenue - p.direct_cost, p.revenue) AS gross_margin,
    c.cash,
    ratio(p.revenue_to_date - p.direct_cost_to_date, p.revenue_to_date) AS gross_margin_to_date,
    w.earned_revenue,
    ratio(w.earned_revenue - w.ac, w.earned_revenue) AS earned_margin,
    w.contract_value,
    w.contract_value - w.earned_revenue AS backlog,
    w.earned_revenue - w.billed AS wip,
    w.over_billing,
    w.under_billing,
    w.expected_loss,
    coalesce(w.projects, 0) AS projects,
    coalesce(w.projects_left_out, 0) AS projects_left_out,
    o.outflow AS operating_outflow_90_days,
    ratio(c.cash * 90, o.outflow) AS days_of_cash,
    coalesce(p.without_rate, 0) AS documents_without_rate,
    coalesce(o.without_rate, 0) AS payments_without_rate,
    m.month_end = (SELECT month_end FROM horizon) AS is_open
FROM months AS m
LEFT JOIN projects AS p ON p.month_end = m.month_end
LEFT JOIN works AS w ON w.month_end = m.month_end
LEFT JOIN cash AS c ON c.month_end = m.month_end
LEFT JOIN outflows AS o ON o.month_end = m.month_end
