WITH rates AS (
    SELECT currency, date, arg_max(rate, rate_id) AS rate
    FROM vault_s_currency_rate
    WHERE is_current AND NOT is_deleted AND rate IS NOT NULL AND date IS NOT NULL
    GROUP BY currency, date
),
billed AS (
    -- A document is rounded once, to whole pesos, when it is converted.
    SELECT
        d.hk_project,
        last_day(d.date) AS month_end,
        d.sign * CASE
            WHEN coalesce(d.currency, 'CLP') = 'CLP' THEN d.amount_untaxed
            WHEN d.currency = 'UF' AND r.date = d.date OR d.currency <> 'UF' AND d.date - r.date <= 7 THEN CAST(round(d.amount_untaxed * r.rate, 0) AS DECIMAL(18,2))
        END AS revenue
    FROM mart_fact_sales AS d
    ASOF LEFT JOIN rates AS r ON r.currency = d.currency AND r.date <= d.date
),
horizon AS (
    SELECT last_day(CAST(timezone('America/Santiago', timezone('UTC', max(asof_clock))) AS DATE)) AS month_end FROM etl_batch
),
facts AS (
    SELECT hk_project, month_end, revenue, 0::DECIMAL(18,2) AS direct_cost FROM billed WHERE revenue IS NOT NULL
    UNION ALL
    SELECT coalesce(hk_project, 0), last_day(date), 0::DECIMAL(18,2), amount
    FROM vault_s_cost_line
    WHERE is_current AND NOT is_deleted AND kind = 'actual' AND date IS NOT NULL AND amount IS NOT NULL
),
spans AS (
    SELECT hk_project, min(month_end) AS first, (SELECT month_end FROM horizon) AS last FROM facts GROUP BY hk_project
),
months AS (
    SELECT hk_project, last_day(CAST(unnest(generate_series(date_trunc('month', first), date_trunc('month', last), INTERVAL 1 MONTH)) AS DATE)) AS month_end FROM spans
),
sums AS (
    SELECT
        m.hk_project,
        m.month_end,
        CAST(coalesce(sum(f.revenue), 0) AS DECIMAL(30,2)) AS revenue,
        CAST(coalesce(sum(f.direct_cost), 0) AS DECIMAL(30,2)) AS direct_cost
    FROM months AS m LEFT JOIN facts AS f ON f.hk_project = m.hk_project AND f.month_end = m.month_end
    GROUP BY m.hk_project, m.month_end
),
cents AS (
    SELECT *, CAST(revenue * 100 AS HUGEINT) AS d, CAST((revenue - direct_cost) * 100 AS HUGEINT) AS n FROM sums
)
-- The ratio in whole numbers, half away from zero: a decimal divided by a decimal would be a float.
SELECT
    hk_project,
    month_end,
    revenue,
    direct_cost,
    CASE WHEN d <> 0 THEN CAST(sign(n) * sign(d) * CAST((abs(n) * 2000000 + abs(d)) // (2 * abs(d)) AS DECIMAL(24,0)) * CAST(0.000001 AS DECIMAL(7,6)) AS DECIMAL(18,6)) END AS gross_margin
FROM cents
